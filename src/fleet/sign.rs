//! A member's sign of life: which version it runs, and which addresses are its own.
//!
//! PURE: no clock, no I/O.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::logging::escape;

/// At most this many addresses of a member are heeded.
pub const MOST_ADDRESSES: usize = 32;

/// At most this many bytes of a sign are read.
pub const MOST_SIGN: usize = 4096;

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The member.
    pub name: String,
    /// What it says of itself; `None` if it has not been heard for a minute.
    pub content: Option<Content>,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Version of SIPban.
    pub version: String,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

impl Content {
    /// Reads a sign; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Content> {
        let mut content: Content = serde_json::from_slice(bytes).ok()?;
        content.addresses.truncate(MOST_ADDRESSES);
        content.version = escape(content.version.chars().take(20).collect::<String>().as_str()).to_string();
        Some(content)
    }

    /// As it is written.
    pub fn text(&self) -> String {
        // Text and addresses always are JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_reads_back_and_no_more_of_it_than_is_heeded() {
        let addresses: Vec<IpAddr> = (0..60).map(|n| IpAddr::from([198, 51, 100, n])).collect();
        let content = Content { version: "2.0.0".into(), addresses };
        assert!(content.text().len() < MOST_SIGN);
        let read = Content::read(content.text().as_bytes()).unwrap();
        assert_eq!((read.version.as_str(), read.addresses.len()), ("2.0.0", MOST_ADDRESSES));
        let strange =
            Content::read(br#"{"version": "\u001b[2J0123456789012345678901234567", "addresses": []}"#).unwrap();
        assert!(!strange.version.contains('\u{1b}') && strange.version.len() < 40);
        for text in ["", "{}", "[]", "{\"version\": \"2\", \"addresses\": [\"0.0.0.0/0\"]}"] {
            assert_eq!(Content::read(text.as_bytes()), None, "{text}");
        }
    }
}
