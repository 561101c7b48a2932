//! What the file may one day say, but not yet: refused by name, never ignored.
//!
//! The one table of such values; every key that has a name is supported. Whoever builds one of them
//! deletes its line here.

/// By key, without the operator's names; what ends in `:` or `/` is a beginning.
const VALUES: &[(&str, &[&str])] =
    &[("route.upstream", &["dns://"]), ("upstream.endpoints", &["dns://"])];

/// Whether the contract has this value of the key, and no release so far.
pub(super) fn value(key: &str, value: &str) -> bool {
    let begins = |known: &&str| known.ends_with([':', '/']) && value.starts_with(*known);
    VALUES
        .iter()
        .any(|(of, known)| *of == key && known.iter().any(|known| *known == value || begins(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_pinned() {
        // A shorter list needs code that honours what left it; a longer one an issue that says so.
        assert_eq!(VALUES.iter().map(|(_, known)| known.len()).sum::<usize>(), 2);
        assert!(value("route.upstream", "dns://a") && !value("upstream.balance", "sticky:a"));
        assert!(value("upstream.endpoints", "dns://a") && !value("upstream.idle_timeout", "auto"));
    }
}
