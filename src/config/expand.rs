//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${file:/path}` and `$$` in strings.
//!
//! Expanded once: what a variable or a file holds is never looked through again, so a value that
//! happens to hold `${` stays what it is.

use std::path::Path;

use super::load::{Environment, read_inclusion};

/// Expands strings from one environment.
pub(super) struct Expander<'a> {
    pub(super) environment: &'a Environment,
    /// Where relative `${file:...}` paths begin.
    pub(super) base_dir: &'a Path,
}

/// Why a string could not be expanded; neither text holds an expanded value.
#[derive(Debug)]
pub(super) struct ExpandError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Expander<'_> {
    /// The expanded text, and whether anything but `$$` stood in it.
    pub(super) fn expand(&self, text: &str) -> Result<(String, bool), ExpandError> {
        let mut out = String::with_capacity(text.len());
        let mut expanded = false;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (inside, after) = after.split_once('}').ok_or_else(unclosed)?;
                out.push_str(&self.resolve(inside)?);
                expanded = true;
                rest = after;
            } else {
                return Err(lone());
            }
        }
        out.push_str(rest);
        Ok((out, expanded))
    }

    fn resolve(&self, inside: &str) -> Result<String, ExpandError> {
        if let Some(path) = inside.strip_prefix("file:") {
            return self.read(path);
        }
        let (name, fallback) = match inside.split_once(':') {
            None => (inside, None),
            Some((name, rest)) => (name, Some(rest)),
        };
        let head = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !head || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(malformed());
        }
        // As in a shell, `:` makes an empty variable count as unset.
        let value = self.environment.var(name);
        match fallback {
            None => value.map(str::to_owned).ok_or_else(|| unset(name)),
            Some(rest) => match (value.filter(|value| !value.is_empty()), rest.split_at_checked(1))
            {
                (_, None) => Err(malformed()),
                (Some(value), Some(("-" | "?", _))) => Ok(value.to_owned()),
                (None, Some(("-", default))) => Ok(default.to_owned()),
                (None, Some(("?", ""))) => Err(unset(name)),
                (None, Some(("?", message))) => Err(ExpandError {
                    message: format!("`${{{name}}}` is not set: {message}"),
                    hint: None,
                }),
                (_, Some(_)) => Err(malformed()),
            },
        }
    }

    fn read(&self, path: &str) -> Result<String, ExpandError> {
        let read = read_inclusion(self.environment, &self.base_dir.join(path));
        let mut text = read.map_err(|error| ExpandError {
            message: format!("cannot read the file of `${{file:{path}}}`: {error}"),
            hint: None,
        })?;
        // Editors and `echo` end a file with a newline that nobody means as part of a secret.
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

fn unset(name: &str) -> ExpandError {
    ExpandError {
        message: format!("the environment variable `{name}` is not set"),
        hint: Some(format!("set it, or give a default: `${{{name}:-...}}`")),
    }
}

fn unclosed() -> ExpandError {
    ExpandError {
        message: "`${` without its `}`".to_owned(),
        hint: Some("write `$$` for a dollar sign".to_owned()),
    }
}

fn lone() -> ExpandError {
    ExpandError {
        message: "`$` stands alone".to_owned(),
        hint: Some("write `$$` for a dollar sign, `${NAME}` for a variable".to_owned()),
    }
}

fn malformed() -> ExpandError {
    ExpandError {
        message: "`${...}` holds no variable's name".to_owned(),
        hint: Some(
            "known forms: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${file:/path}`"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<(String, bool), ExpandError> {
        let environment = Environment::new([("SET", "va${lue}"), ("EMPTY", ""), ("PORT", "80")]);
        Expander { environment: &environment, base_dir: Path::new("/") }.expand(text)
    }

    #[test]
    fn every_form_expands_once() {
        let value = |text| expand(text).unwrap().0;
        assert_eq!(value("a${SET}b"), "ava${lue}b");
        assert_eq!(value(":${PORT}"), ":80");
        assert_eq!(value("${UNSET:-x y}"), "x y");
        assert_eq!(value("${EMPTY:-x}"), "x");
        assert_eq!(value("${EMPTY}"), "");
        assert_eq!(value("${SET:?needed}"), "va${lue}");
        assert_eq!(value("$$5 $${SET}"), "$5 ${SET}");
        assert_eq!(expand("$$").unwrap(), ("$".to_owned(), false));
    }

    #[test]
    fn every_malformed_form_is_an_error() {
        for text in [
            "$",
            "$x",
            "${",
            "${SET",
            "${}",
            "${1A}",
            "${A B}",
            "${SET:}",
            "${SET:+x}",
            "${UNSET}",
            "${UNSET:?}",
            "${EMPTY:?no}",
            "${file:/no/such}",
        ] {
            assert!(expand(text).is_err(), "{text}");
        }
        assert!(expand("${UNSET:?set it}").unwrap_err().message.ends_with("set it"));
    }
}
