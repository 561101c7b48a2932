//! The reference page: every table and key, in Markdown.

use super::Config;
use super::describe::{FieldDoc, Limits, Many, Presence, TableDoc};
use super::walk::Value;

const INTRODUCTION: &str = "# Configuration reference

Made by `portcullis reference` from the definitions that read the file. Files are TOML 1.0; relative
paths begin at the file's folder. Strings may hold `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and
`${file:/run/secrets/name}` (`$$` is `$`): expanded once, one trailing newline of a file cut, then
read as the key's type. An expanded value is never shown.
";

/// The whole page. Every key with what it takes, what holds without it, and what it means.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for field in Config::table().into_iter().flat_map(|table| table.fields) {
        section(&mut page, "", &field, 2);
    }
    page
}

/// One table's section, then those of the tables in it.
fn section(page: &mut String, within: &str, field: &FieldDoc, depth: usize) {
    let Some(table) = &field.table else {
        return;
    };
    let path = match within {
        "" => field.key.to_owned(),
        within => format!("{within}.{}", field.key),
    };
    let (title, inner) = match field.shape.many {
        Many::List => (format!("[[{path}]]"), path),
        Many::Named => (format!("[{path}.NAME]"), format!("{path}.NAME")),
        Many::One => (format!("[{path}]"), path),
    };
    page.push_str(&format!("\n{} `{title}`\n\n{}\n\n", "#".repeat(depth), table.doc));
    page.push_str("| key | takes | without it | meaning |\n|---|---|---|---|\n");
    keys(page, table);
    for field in &table.fields {
        section(page, &inner, field, depth + 1);
    }
}

fn keys(page: &mut String, table: &TableDoc) {
    for field in &table.fields {
        let takes = match (&field.table, field.shape.many) {
            (None, _) => field.shape.text.clone(),
            (Some(_), Many::List) => "list of tables, see below".to_owned(),
            (Some(_), Many::Named | Many::One) => "table, see below".to_owned(),
        };
        let range = |limits: Limits| format!("; {} to {}", limits.bare_min(), limits.bare_max());
        let range = field.limits.map(range).unwrap_or_default();
        let without = match field.presence {
            Presence::Default("{}") => "its defaults".to_owned(),
            Presence::Default(text) => format!("`{text}`"),
            Presence::Optional(absence) => absence.to_owned(),
            Presence::Required => "**required**".to_owned(),
        };
        let row = [format!("`{}`", field.key), takes + &range, without, field.doc.clone()];
        page.push_str(&format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_table_and_key() {
        let page = reference();
        for part in [
            "## `[listener.NAME]`",
            "### `[listener.NAME.tls]`",
            "#### `[[listener.NAME.tls.certificates]]`",
            "## `[[route]]`",
            "### `[server.max_headers]`",
            "| `static` | path |",
            "`\"75s\"`",
            "| `iss` |",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}
