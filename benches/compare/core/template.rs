//! A configuration file with places to fill: `@port@`.

/// Fills every place, in the order of the values, so that a value may hold places of later ones. One
/// that nothing is given for is an error, and names itself.
pub(crate) fn fill(template: &str, values: &[(&str, String)]) -> Result<String, String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    let unknown = places(&text).next().map(|place| format!("nothing is given for @{place}@"));
    unknown.map_or(Ok(text), Err)
}

/// Names between two `@`; a lone one, as in `"@type"`, begins none.
fn places(template: &str) -> impl Iterator<Item = &str> {
    let mut parts: Vec<_> = template.split('@').skip(1).collect();
    parts.pop();
    let is_name =
        |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    parts.into_iter().filter(is_name)
}
