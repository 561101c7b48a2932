//! `portcullis token`: tokens apart from requests. One file a verb.

mod inspect;
mod jwks;
mod sign;
mod verify;

pub(super) use verify::show;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::Failure;
use crate::clock::UnixTime;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Take a token apart and explain what it says; nothing is verified
    Inspect(inspect::Arguments),
    /// Say step by step whether a token is good: for the configuration's issuers, or with --jws
    /// for a key alone
    Verify(verify::Arguments),
    /// Sign a token for tests
    Sign(sign::Arguments),
    /// Print the JWK set of PEM files, public keys only
    Jwks(jwks::Arguments),
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Inspect(verb) => inspect::run(verb),
        Verb::Verify(verb) => verify::run(file, verb),
        Verb::Sign(verb) => sign::run(verb),
        Verb::Jwks(verb) => jwks::run(verb),
    }
}

/// The token itself; `-` reads it from standard input, without the line's end.
pub(super) fn read_token(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut token = String::new();
    // No issuer takes a token of this size.
    std::io::stdin()
        .take(MAX_INPUT)
        .read_to_string(&mut token)
        .map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
    Ok(token.trim_end_matches(['\r', '\n']).to_owned())
}

/// Key files are a few KiB; a path that names a disk by mistake is not read whole.
fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::Usage(format!("can't read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::Usage(format!("{}: more than 1 MiB", path.display())));
    }
    Ok(bytes)
}

/// Bytes of the longest file or token that is read.
const MAX_INPUT: u64 = 1024 * 1024;

/// A time of a token as a date and by its distance, such as `Tue, 14 Nov 2023 22:13:20 GMT, 2 h ago`.
fn date(seconds: u64, now: UnixTime) -> String {
    // The last second of the year 9999, beyond which dates have no agreed form.
    if seconds > 253_402_300_799 {
        return "beyond the year 9999".to_owned();
    }
    let at = UnixTime::from_secs(seconds);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    match at > now {
        true => format!("{date}, in {}", rough(at.since(now))),
        false => format!("{date}, {} ago", rough(now.since(at))),
    }
}

/// A duration in its largest unit.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_say_how_far_they_are() {
        let now = UnixTime::from_secs(1_700_000_000);
        for (seconds, text) in [
            (1_700_000_000, "Tue, 14 Nov 2023 22:13:20 GMT, 0 s ago"),
            (1_700_000_001, "Tue, 14 Nov 2023 22:13:21 GMT, in 1 s"),
            (1_699_999_880, "Tue, 14 Nov 2023 22:11:20 GMT, 2 min ago"),
            (1_700_007_200, "Wed, 15 Nov 2023 00:13:20 GMT, in 2 h"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT, 19675 days ago"),
            (u64::MAX, "beyond the year 9999"),
        ] {
            assert_eq!(date(seconds, now), text);
        }
    }
}
