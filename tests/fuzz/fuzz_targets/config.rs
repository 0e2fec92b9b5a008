//! Any text as a configuration: it is read the same every time, errors name a line of it, and nothing that is shown
//! holds a secret.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sipban::config::Config;

const SECRET: &str = "Qx7!secret-of-nobody";

fuzz_target!(|text: &str| {
    let read = |text: &str| Config::parse(text, Path::new("f"));
    let first = read(text);
    match (&first, read(text)) {
        (Ok(config), Ok(again)) => assert_eq!(*config, again),
        (Err(errors), Err(again)) => {
            assert!(!errors.0.is_empty());
            assert_eq!(errors.to_string(), again.to_string());
            let lines = text.lines().count();
            assert!(errors.0.iter().all(|error| error.line.is_none_or(|line| (1..=lines).contains(&line))), "{errors}");
        }
        _ => panic!("read in two ways"),
    }
    for key in ["[ami]\npass", "[control]\npassword"] {
        // In front of what may be anything, and behind it, with a quote that nobody closes.
        for text in [format!("{key} = {SECRET}\n{text}"), format!("{text}\n{key} = \"{SECRET}\n")] {
            let shown = match read(&text) {
                Ok(config) => format!("{config:?}"),
                Err(errors) => errors.to_string(),
            };
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
});
