//! The order of the functions in the program, which keeps the memory of a daemon small: packaging/build.rs.

use std::fs;
use std::path::Path;

/// At most this share of the list may be out of date, in percent: some functions are renamed all the time.
const STALE: usize = 20;

#[test]
fn the_list_of_what_every_daemon_runs_names_functions_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut sources, list) = (String::new(), fs::read_to_string(root.join("packaging/order.ld")).unwrap());
    read_all(&root.join("src"), &mut sources);
    let ours: Vec<&str> = list.lines().filter_map(function).collect();
    let gone: Vec<_> = ours.iter().filter(|name| !defines(&sources, name)).collect();
    assert!(ours.len() > 100, "{} functions are in the list", ours.len());
    assert!(gone.len() * 100 <= ours.len() * STALE, "call `make order`, there are no such functions: {gone:?}");
}

/// The name of a function of ours, from a line `*(.text._ZN6sipban5owner5Owner3run17h*)`: each part of its path stands
/// behind its length. What the compiler made up, such as the number of an `impl`, holds a `$`.
fn function(line: &str) -> Option<&str> {
    let mut rest =
        line.trim().strip_prefix("*(.text._ZN")?.strip_suffix("17h*)").filter(|path| path.starts_with("6sipban"))?;
    let mut last = None;
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()) {
        let (part, after) = rest[digits..].split_at_checked(rest[..digits].parse().ok()?)?;
        last = if part.contains('$') { last } else { Some(part) };
        rest = after;
    }
    last
}

fn defines(sources: &str, name: &str) -> bool {
    ["(", "<"].iter().any(|behind| sources.contains(&format!("fn {name}{behind}")))
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            read_all(&entry, into);
        } else {
            *into += &fs::read_to_string(entry).unwrap();
        }
    }
}
