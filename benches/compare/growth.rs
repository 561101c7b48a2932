//! Configurations that grow: what `portcullis-growth.toml` leaves open.

use std::fmt::Write as _;
use std::fs;

use super::Result;
use super::load::Load;
use super::tokens;
use super::world::World;

type Values = Vec<(&'static str, String)>;

/// Nothing more than the one route, issuer and key.
pub(super) fn nothing() -> Values {
    values(String::new())
}

/// That many routes before the one that is asked for, all to the same upstream.
pub(super) fn routes(count: usize) -> Values {
    let mut more = String::new();
    for nth in 1..count {
        let _infallible = write!(
            more,
            "[[route]]\npath = \"/service-{nth}/v1/items/*\"\nupstream = \"app\"\nissuers = \"all\"\n\n"
        );
    }
    values(more)
}

/// That many issuers, all with keys of their own file.
pub(super) fn issuers(count: usize) -> Values {
    let mut more = String::new();
    for nth in 1..count {
        let _infallible = write!(
            more,
            "[issuer.other-{nth}]\nurl = \"https://issuer-{nth}.example\"\naudience = [\"@audience@\"]\n\
             jwks_file = \"@jwks_file@\"\nalgorithms = [\"@algorithm@\"]\n\n"
        );
    }
    values(more)
}

/// The key that signs, behind 63 others: no key set holds more.
pub(super) fn keys_64(world: &World, load: &Load) -> Result<Values> {
    let issued = load.issued(world)?.ok_or("a load without tokens needs no keys")?;
    let file = world.folder().join("keys-64.jwks");
    fs::write(&file, tokens::among_others(&issued, 63)?)?;
    Ok(vec![("jwks", file.display().to_string()), ("more", String::new())])
}

fn values(more: String) -> Values {
    vec![("more", more), ("jwks", "@jwks_file@".to_owned())]
}
