//! Countries by their codes.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A country by its two letters of ISO 3166-1, such as `MX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// Whether a country is none of these, where there are any. One that is not known, as on a private network, may be.
pub fn is_elsewhere(country: Option<Country>, countries: &[Country]) -> bool {
    country.is_some_and(|country| !countries.is_empty() && !countries.contains(&country))
}

impl FromStr for Country {
    type Err = ();
    fn from_str(text: &str) -> Result<Country, ()> {
        match *text.as_bytes() {
            [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
                Ok(Country([first, second].map(|letter| letter.to_ascii_uppercase())))
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_two_letters_in_any_case() {
        let mexico: Country = "mx".parse().unwrap();
        assert_eq!(mexico.to_string(), "MX");
        assert_eq!("MX".parse(), Ok(mexico));
        for other in ["", "M", "MEX", "M1", "Méx", "é"] {
            assert_eq!(other.parse::<Country>(), Err(()), "{other}");
        }
    }

    #[test]
    fn elsewhere_is_only_what_is_known_to_be() {
        let [mexico, us, france] = ["MX", "US", "FR"].map(|code| code.parse().unwrap());
        assert!(is_elsewhere(Some(france), &[mexico, us]));
        assert!(!is_elsewhere(Some(us), &[mexico, us]));
        assert!(!is_elsewhere(None, &[mexico, us]));
        assert!(!is_elsewhere(Some(france), &[]));
    }
}
