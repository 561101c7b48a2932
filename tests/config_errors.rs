//! What the configuration says about mistakes: every file of `golden/config/` has the text that
//! `check` prints for it beside it. `UPDATE_GOLDEN=1` writes the texts anew; read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::config::{self, Environment};
use proptest::prelude::*;

/// A folder that no test reads: relative paths in messages would begin here.
const BASE: &str = "/etc/portcullis";

fn environment() -> Environment {
    Environment::new([
        ("PORT", "8080"),
        ("WORD", "wrong"),
        ("SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"),
    ])
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config")
}

/// What a person sees for this text.
fn seen(name: &str, text: &str) -> String {
    match config::parse(name, text, &environment(), Path::new(BASE)) {
        Ok(loaded) if loaded.warnings.is_empty() => "no problems\n".to_owned(),
        Ok(loaded) => loaded.warnings.render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

#[test]
fn every_mistake_is_told_as_its_golden_text_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut cases: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let seen = seen(&name, &fs::read_to_string(&case).unwrap());
        let expected = case.with_extension("txt");
        if update {
            fs::write(&expected, &seen).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != seen {
            wrong.push(format!("{name}:\n{seen}"));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn no_golden_text_shows_a_secret() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("hunter2"), "{} shows a secret", path.display());
        }
    }
}

#[test]
fn the_repositorys_own_configuration_has_no_problems() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.toml");
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(seen("gateway.toml", &text), "no problems\n");
}

#[test]
fn a_missing_file_is_a_diagnostic() {
    let missing = Path::new("/no/such/gateway.toml");
    let diagnostics = config::load(missing, &environment()).unwrap_err();
    assert_eq!(diagnostics.errors(), 1);
    assert!(diagnostics.render(false).contains("/no/such/gateway.toml"));
}

#[test]
fn files_are_included_without_their_last_newline() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "hunter2-hunter2-hunter2-hunter2-hunter2\n").unwrap();
    let path = folder.path().join("gateway.toml");
    let text = r#"
        listener.main.address = ":8080"
        issuer.django = { preset = "simplejwt", secret = "${file:key}" }
        route = [{ path = "/*", upstream = "http://127.0.0.1:8000" }]
    "#;
    fs::write(&path, text).unwrap();
    let loaded = config::load(&path, &Environment::of_process()).unwrap();
    let secret = loaded.config.issuers[0].secret.as_ref().unwrap();
    assert_eq!(secret.expose(), "hunter2-hunter2-hunter2-hunter2-hunter2");
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
    assert_eq!(loaded.warnings.list().len(), 0);
}

#[test]
fn ten_thousand_routes_are_read_in_reasonable_time() {
    let mut text = "listener.main.address = \":8080\"\n".to_owned();
    for route in 0..10_000 {
        text.push_str(&format!(
            "[[route]]\npath = \"/r{route}/*\"\nupstream = \"http://127.0.0.1:8000\"\npublic = true\n"
        ));
    }
    let loaded = config::parse("many.toml", &text, &environment(), Path::new(BASE)).unwrap();
    assert_eq!(loaded.config.routes.len(), 10_000);
}

/// Texts near enough to a configuration to come past the parser.
fn almost_a_configuration() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "[listener.a]\n",
        "[issuer.b]\n",
        "[upstream.c]\n",
        "[[route]]\n",
        "[server]\n",
        "[log]\n",
        "path",
        "address",
        "url",
        "secret",
        "upstream",
        "issuers",
        "require",
        "max_body",
        " = ",
        "\"/x\"",
        "\":80\"",
        "\"${PORT}\"",
        "\"${\"",
        "\"all\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\n",
        "\"",
        "'''",
        "\"\"\"",
        "1",
        "99999999999999999999999999999999999999999999",
        "true",
        "1979-05-27",
        "\"10s\"",
        "nan",
        "#",
        "\u{fe}\u{0}",
        "any = []",
        "é",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in ".{0,200}") {
        answered(&text)?;
    }

    #[test]
    fn anything_like_a_configuration_gets_an_answer(text in almost_a_configuration()) {
        answered(&text)?;
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        answered(&String::from_utf8_lossy(&bytes))?;
    }
}

/// Refused means told why, with something to draw.
fn answered(text: &str) -> Result<(), TestCaseError> {
    if let Err(diagnostics) = config::parse("x.toml", text, &environment(), Path::new(BASE)) {
        prop_assert!(diagnostics.errors() > 0);
        prop_assert!(!diagnostics.render(false).is_empty());
    }
    Ok(())
}

#[test]
fn the_reference_page_is_what_the_definitions_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, config::reference()).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == config::reference(), "run `portcullis reference > docs/reference.md`");
}
