//! What is documented is what there is: the manual pages, the help and the completions against the command line, the
//! console and the configuration. (The sample configuration is compared with the keys in `src/config/tests.rs`.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell, generate};
use sipban::cli::Cli;
use sipban::config::KEYS;
use sipban::console::{command, text};
use sipban::fleet::keys::Keys;
use sipban::model::target::Holder;

const SIPBAN_8: &str = include_str!("../packaging/sipban.8");
const SIPBAN_CONF_5: &str = include_str!("../packaging/sipban.conf.5");
const SAMPLE: &str = include_str!("../conf/sipban.conf");

/// Names and what belongs to each.
type Table = BTreeMap<String, BTreeSet<String>>;

fn command_line() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

/// `""` and each subcommand, with its options as `-c` and `--config`. Those that hold everywhere are named once.
fn options_there_are() -> Table {
    let root = command_line();
    let options = |command: &Command| {
        let own = command.get_arguments().filter(|arg| command.get_name() == "sipban" || !is_everywhere(arg));
        own.flat_map(|arg| {
            let short = arg.get_short().map(|short| format!("-{short}"));
            short.into_iter().chain(arg.get_long().map(|long| format!("--{long}")))
        })
        .collect()
    };
    let subcommands = root.get_subcommands().filter(|command| !command.is_hide_set());
    let table = subcommands.map(|command| (command.get_name().to_owned(), options(command)));
    table.chain([(String::new(), options(&root))]).collect()
}

fn is_everywhere(arg: &clap::Arg) -> bool {
    arg.is_global_set() || arg.get_id() == "help"
}

/// The macro lines of a section of a page, from the dot on.
fn macros<'a>(page: &'a str, section: &str) -> impl Iterator<Item = &'a str> {
    let (_, rest) = page.split_once(&format!("\n.Sh {section}\n")).unwrap_or_else(|| panic!("no section {section}"));
    let section = rest.split("\n.Sh ").next().unwrap_or(rest);
    section.lines().filter(|line| line.starts_with('.'))
}

/// The arguments of a macro wherever it stands in a line, each up to the next macro or punctuation.
fn arguments(line: &str, name: &str) -> Vec<String> {
    let is_macro = |word: &str| word.len() == 2 && word.starts_with(char::is_uppercase);
    let is_end = |word: &&str| is_macro(word) || [",", "|"].contains(word);
    let words: Vec<&str> = line.split(' ').collect();
    let starts = (0..words.len()).filter(|&at| words[at].trim_start_matches('.') == name);
    starts
        .map(|at| words[at + 1..].iter().take_while(|word| !is_end(word)).copied().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The options that `.It Fl` lines of sipban(8) describe, by the `.It Cm` they stand under.
fn options_in_the_manual() -> Table {
    let mut table = Table::from([(String::new(), BTreeSet::new())]);
    let mut at = String::new();
    for line in macros(SIPBAN_8, "DESCRIPTION").chain(macros(SIPBAN_8, "COMMANDS")) {
        if line.starts_with(".It Cm ") {
            at = arguments(line, "Cm").concat();
            table.insert(at.clone(), BTreeSet::new());
        } else if line.starts_with(".It Fl ") {
            table.get_mut(&at).unwrap().extend(arguments(line, "Fl").iter().map(|name| format!("-{name}")));
        }
    }
    table
}

/// Commands of the console as its help has them: `block`, `wl add`.
fn console_commands() -> BTreeSet<String> {
    let help = text::help(&Holder::Chain("sipban-udp".parse().unwrap()));
    let written = help.lines.iter().filter_map(|line| line.split_once("=>")).map(|(written, _)| written);
    let commands = written.flat_map(|written| {
        let words = written.split_whitespace().take_while(|word| !word.starts_with(['{', '[', '-']));
        words.collect::<Vec<_>>().join(" ").split('/').map(str::to_owned).collect::<Vec<_>>()
    });
    commands.filter(|command| !command.is_empty()).collect()
}

/// A key as sipban.conf(5) describes it.
struct Described {
    name: String,
    default: String,
    /// Marked with an asterisk.
    restart: bool,
}

fn keys_in_the_manual() -> Vec<Described> {
    let (_, page) = SIPBAN_CONF_5.split_once("\n.Sh DESCRIPTION\n").unwrap();
    let page = page.split("\n.Sh ").next().unwrap();
    let mut section = "";
    let mut described: Vec<Described> = Vec::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix(".Ss [") {
            section = name.trim_end_matches(']');
        } else if let Some((key, default)) = line.strip_prefix(".It Cm ").and_then(|item| item.split_once(" =")) {
            let (name, default) = (format!("{section}.{key}"), default.trim_start().to_owned());
            described.push(Described { name, default, restart: false });
        } else if let Some(key) = described.last_mut() {
            key.restart |= line.contains('*');
        }
    }
    described
}

#[test]
fn the_manual_has_every_option_and_command_and_no_other() {
    assert_eq!(options_in_the_manual(), options_there_are());
}

#[test]
fn the_synopsis_names_options_that_there_are() {
    let known: BTreeSet<String> = options_there_are().into_values().flatten().collect();
    for option in macros(SIPBAN_8, "SYNOPSIS").flat_map(|line| arguments(line, "Fl")) {
        // `-dn` is `-d -n`.
        let options = match option.strip_prefix('-') {
            Some(_) => vec![format!("-{option}")],
            None => option.split(' ').next().unwrap_or_default().chars().map(|c| format!("-{c}")).collect(),
        };
        assert!(options.iter().all(|option| known.contains(option)), "{options:?}");
    }
    let commands: BTreeSet<String> = macros(SIPBAN_8, "SYNOPSIS").flat_map(|line| arguments(line, "Cm")).collect();
    let known = options_there_are().into_keys().filter(|name| !name.is_empty() && name != "help").collect();
    assert_eq!(commands, known);
}

#[test]
fn the_help_explains_everything_it_names() {
    let root = command_line();
    for command in root.get_subcommands().chain([&root]).filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name}");
        for arg in command.get_arguments() {
            assert!(arg.is_hide_set() || arg.get_help().is_some(), "{name} {}", arg.get_id());
        }
    }
}

#[test]
fn the_manual_has_every_console_command_and_no_other() {
    let items = macros(SIPBAN_8, "CONSOLE").filter(|line| line.starts_with(".It Ic "));
    let mut described: BTreeSet<String> = items.flat_map(|line| arguments(line, "Ic")).collect();
    assert!(described.remove("help"), "help does not list itself");
    assert_eq!(described, console_commands());
}

#[test]
fn the_console_knows_the_commands_of_its_help() {
    for command in console_commands() {
        let answer = command::parse(&command).map_err(|text| text.starts_with("Invalid command"));
        assert_ne!(answer, Err(true), "{command}");
    }
}

#[test]
fn the_manual_has_every_key_with_its_default_and_says_which_need_a_restart() {
    let keys = KEYS.iter().map(|key| (key.name.to_owned(), (key.default.to_owned(), key.restart)));
    let described = keys_in_the_manual().into_iter().map(|key| (key.name, (key.default, key.restart)));
    assert_eq!(described.collect::<BTreeMap<_, _>>(), keys.collect::<BTreeMap<_, _>>());
}

#[test]
fn the_manual_has_the_keys_in_the_order_of_the_sample() {
    let mut section = "";
    let mut sample = Vec::new();
    for line in SAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line)) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            sample.push(format!("{section}.{key}"));
        }
    }
    let described: Vec<String> = keys_in_the_manual().into_iter().map(|key| key.name).collect();
    assert_eq!(described, sample);
}

#[test]
fn the_manual_has_the_acl_that_is_printed() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(SIPBAN_8).contains(&Keys::new("main").rules("pbx1")));
}

#[test]
fn the_completions_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions");
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "sipban", &mut script);
        let path = folder.join(shell.file_name("sipban"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &script).unwrap();
        }
        let current = fs::read(&path).is_ok_and(|there| there == script);
        assert!(current, "{}: write it anew with `UPDATE=1 cargo test --test docs`", path.display());
    }
}
