//! A comparison: two programs, what each is asked, and what the ratios have to be.

use super::core::figure::{Figure, Pace, Target};
use super::core::page::Key;
use super::load::{Load, Tokens};
use super::proxy::Setup;

/// A program, and its load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) setup: &'static Setup,
    pub(super) load: Load,
}

/// A figure that has a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) figure: Figure,
    pub(super) pace: Pace,
    pub(super) target: Target,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Full load.
    Full,
    /// Full load, then a steady rate.
    FullAndSteady,
    /// A steady rate, and a reload in the midst of it; `theirs` is the same without.
    Reload,
    /// Full load, with Django behind Gunicorn as the application.
    Django,
    /// As `FullAndSteady`; of the difference, what the signature alone does not explain.
    Overhead,
}

/// See above.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// As issues and results name it: `S2 ES256`.
    pub(super) scenario: &'static str,
    /// Beside whom; `itself` where Portcullis is measured twice.
    pub(super) peer: &'static str,
    /// In a few words.
    pub(super) about: &'static str,
    pub(super) ours: Side,
    pub(super) theirs: Side,
    pub(super) work: Work,
    pub(super) claims: &'static [Claim],
}

impl Case {
    pub(super) fn key(&self) -> Key {
        Key { scenario: self.scenario.to_owned(), peer: self.peer.to_owned() }
    }

    /// Whether every run needs programs that have seen none of its tokens.
    pub(super) fn is_fresh(&self) -> bool {
        [&self.ours, &self.theirs].iter().any(|side| matches!(side.load.tokens, Tokens::New(_)))
    }

    /// `S2` names all that begin so, `S2 ES256` one.
    pub(super) fn is_named(&self, scenario: &str, peer: Option<&str>) -> bool {
        let scenario_fits = scenario.eq_ignore_ascii_case("all")
            || self.scenario.eq_ignore_ascii_case(scenario)
            || self.scenario.split(' ').next().is_some_and(|s| s.eq_ignore_ascii_case(scenario));
        scenario_fits && peer.is_none_or(|peer| self.peer == peer)
    }

    pub(super) fn target(&self, figure: Figure, pace: Pace) -> Option<Target> {
        let claim = self.claims.iter().find(|claim| claim.figure == figure && claim.pace == pace);
        claim.map(|claim| claim.target)
    }
}
