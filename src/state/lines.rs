//! Files of lines that may be damaged in any way, read in bounded memory.

use std::io::{self, BufRead, Read};

/// Hands over each line with its number, from 1, and its LF; the last one may lack that. A line longer than `longest`
/// bytes comes in pieces, each with a number of its own.
///
/// # Errors
/// If the input cannot be read.
pub(super) fn each_line(mut input: impl BufRead, longest: u64, mut each: impl FnMut(usize, &[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.by_ref().take(longest).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        each(number, &line);
    }
    Ok(())
}

/// What is wrong with lines, of which only the first ones are described.
#[derive(Debug)]
pub(super) struct Problems {
    most: usize,
    told: Vec<String>,
    more: usize,
}

impl Problems {
    /// Describes at most `most` of them.
    pub fn at_most(most: usize) -> Problems {
        Problems { most, told: Vec::new(), more: 0 }
    }

    /// Notes one more.
    pub fn add(&mut self, describe: impl FnOnce() -> String) {
        if self.told.len() < self.most { self.told.push(describe()) } else { self.more += 1 }
    }

    /// In words, those that are not described as their number.
    pub fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more damaged lines", self.more));
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_too_long_comes_in_pieces_and_the_next_one_is_whole() {
        let mut read = Vec::new();
        each_line(&b"abcdefgh\n\nxy"[..], 4, |number, line| read.push((number, line.to_vec()))).unwrap();
        let expected: [(usize, &[u8]); 5] = [(1, b"abcd"), (2, b"efgh"), (3, b"\n"), (4, b"\n"), (5, b"xy")];
        assert_eq!(read, expected.map(|(number, line)| (number, line.to_vec())));
    }

    #[test]
    fn problems_are_told_up_to_a_number_and_then_counted() {
        let told = |count| {
            let mut problems = Problems::at_most(2);
            (1..=count).for_each(|n| problems.add(|| format!("line {n}")));
            problems.told()
        };
        assert_eq!(told(2), ["line 1", "line 2"]);
        assert_eq!(told(4), ["line 1", "line 2", "and 2 more damaged lines"]);
    }
}
