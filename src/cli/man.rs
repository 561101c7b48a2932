//! `portcullis man`: the manual page, from the same definitions as `--help`.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Failure, print_bytes};

/// What no single option says.
const FILES: [(&str, &str); 2] = [
    ("./gateway.toml", "The configuration, unless -c or $PORTCULLIS_CONFIG names another."),
    ("/etc/portcullis/gateway.toml", "The configuration where there is no ./gateway.toml."),
];

const EXIT_STATUS: [(&str, &str); 4] = [
    ("0", "Fine."),
    ("1", "It failed while running, or the answer is no."),
    ("2", "The command line or the configuration is wrong; standard error says how."),
    ("other", "`run -- COMMAND` ends with COMMAND's code, or 128 and the signal that ended it."),
];

pub(super) fn run() -> Result<(), Failure> {
    let mut page = Vec::new();
    write(super::Arguments::command(), &mut page)
        .map_err(|error| Failure::Running(error.to_string()))?;
    print_bytes(&page)
}

fn write(mut command: Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    command.build();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    verbs(&command, page)?;
    section("FILES", &FILES, page)?;
    section("EXIT STATUS", &EXIT_STATUS, page)?;
    man.render_version_section(page)
}

/// Each verb with its own options: one page is searched more easily than a dozen.
fn verbs(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["VERBS"]);
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        verb_and_its_own(verb, &mut roff);
    }
    roff.to_writer(page)
}

fn verb_and_its_own(verb: &Command, roff: &mut Roff) {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    roff.control("TP", []).text([bold(usage)]);
    roff.text([roman(verb.get_about().map(ToString::to_string).unwrap_or_default())]);
    for option in verb.get_arguments().filter(|one| !one.is_hide_set() && !one.is_global_set()) {
        if matches!(option.get_id().as_str(), "help" | "version") {
            continue;
        }
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        let short = option.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let name = format!("{short}{option}");
        roff.control("br", []).text([bold(name), roman(format!("  {help}"))]);
    }
    for inner in verb.get_subcommands().filter(|inner| inner.get_name() != "help") {
        verb_and_its_own(inner, roff);
    }
}

fn section(title: &str, rows: &[(&str, &str)], page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (name, text) in rows {
        roff.control("TP", []).text([bold(*name)]).text([roman(*text)]);
    }
    roff.to_writer(page)
}
