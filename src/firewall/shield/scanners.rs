//! What scanners call themselves, as a file of the administrator's lists it.

use std::path::Path;

use crate::file;
use crate::firewall::Error;

/// At most 32 scanners: a packet of a stranger is searched for each.
pub(in crate::firewall) const MOST: usize = 32;

/// At most 64 characters has what a scanner calls itself. The kernel takes patterns of 128 bytes.
const LONGEST: usize = 64;

/// At most this many bytes are read of the file.
const MOST_BYTES: usize = 65_536;

/// What the User-Agent line of a scanner's requests says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::firewall) struct Scanner {
    name: String,
    /// Whether more may follow on the line.
    is_start: bool,
}

impl Scanner {
    /// The bytes that a request of it holds: from the end of the line before to that of its own, if that is known.
    pub(in crate::firewall) fn pattern(&self) -> Vec<u8> {
        let end = if self.is_start { "" } else { "\r\n" };
        format!("\r\nUser-Agent: {}{end}", self.name).into_bytes()
    }
}

/// Reads the file.
///
/// # Errors
/// If it cannot be read, or all that is wrong in it.
pub(in crate::firewall) fn load(path: &Path) -> Result<Vec<Scanner>, Error> {
    let advice = "mend it, or set shield.scanners = off";
    let bytes = file::read(path).map_err(|error| Error(format!("{}: {error}; {advice}", path.display())))?;
    if bytes.len() > MOST_BYTES {
        return Err(Error(format!("{}: has more than {MOST_BYTES} bytes; {advice}", path.display())));
    }
    parse(&String::from_utf8_lossy(&bytes)).map_err(|wrong| {
        let wrong = wrong.into_iter().map(|(line, what)| format!("{}, line {line}: {what}", path.display()));
        Error(format!("{}; {advice}", wrong.collect::<Vec<_>>().join("; ")))
    })
}

/// Or what is wrong, each with the number of its line.
pub(in crate::firewall) fn parse(text: &str) -> Result<Vec<Scanner>, Vec<(usize, String)>> {
    let (mut scanners, mut wrong): (Vec<Scanner>, _) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let (name, source) = line.split_once('#').unwrap_or((line, ""));
        if name.trim().is_empty() {
            continue;
        }
        match scanner(name.trim(), source.trim()) {
            Ok(scanner) if scanners.contains(&scanner) => wrong.push((number, "it is there already".to_owned())),
            Ok(_) if scanners.len() == MOST => {
                wrong.push((number, format!("there are more than {MOST} scanners")));
                break;
            }
            Ok(scanner) => scanners.push(scanner),
            Err(what) => wrong.push((number, what)),
        }
    }
    if wrong.is_empty() { Ok(scanners) } else { Err(wrong) }
}

fn scanner(text: &str, source: &str) -> Result<Scanner, String> {
    let (name, is_start) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
    if name.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} characters"));
    }
    if name.trim().len() < 3 {
        return Err("it has less than 3 characters, and so would be found in many a phone's name".to_owned());
    }
    if !name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) || name.contains('*') {
        return Err("it holds a character other than those of ASCII, or a * that is not at its end".to_owned());
    }
    if source.is_empty() {
        return Err("write behind it a # and where it is known from".to_owned());
    }
    Ok(Scanner { name: name.to_owned(), is_start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_read_and_bound_to_its_line() {
        let scanners = parse(include_str!("../../../conf/sipban.scanners")).unwrap();
        let patterns: Vec<Vec<u8>> = scanners.iter().map(Scanner::pattern).collect();
        assert_eq!(patterns[0], b"\r\nUser-Agent: friendly-scanner\r\n");
        assert!(patterns.contains(&b"\r\nUser-Agent: sipcli/".to_vec()));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let long = "x".repeat(65);
        let text = format!(
            "# mine\nabc # there\n\nabc # twice\nab # short\ndef\nno\tn\u{e9} # odd\na*c # inside\n{long} # long"
        );
        let wrong = parse(&text).unwrap_err();
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
        assert!(wrong[2].1.contains("where it is known from"), "{wrong:?}");
    }

    #[test]
    fn their_number_is_bounded() {
        let text = |count: usize| (0..count).map(|n| format!("scanner {n} # a test\n")).collect::<String>();
        assert_eq!(parse(&text(MOST)).unwrap().len(), MOST);
        assert_eq!(parse(&text(100_000)).unwrap_err().len(), 1);
    }

    #[test]
    fn an_error_names_the_file_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scanners");
        let says = |text: &str| {
            let error = load(&path).unwrap_err().0;
            assert!(error.contains(text) && error.ends_with("or set shield.scanners = off"), "{error}");
        };
        says("No such file");
        std::fs::write(&path, "abc").unwrap();
        says(&format!("{}, line 1: write behind it", path.display()));
        std::fs::write(&path, vec![b'#'; MOST_BYTES + 1]).unwrap();
        says("has more than 65536 bytes");
    }
}
