//! Where addresses are: country and network operator, as files of MaxMind's format say that the administrator has.
//!
//! The files are held in memory, at most [`MOST`] bytes each, and read again at a reload. Threads that read from Asterisk
//! or answer the console look addresses up; the owner, whom all wait for, never does.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};
use serde::Serialize;

use crate::config::GeoConfig;
use crate::failure::Failure;
use crate::file;
use crate::logging::printable;
use crate::model::country::Country;
use crate::model::security::SecurityEvent;

/// At most so many bytes has a file. GeoLite2-Country has 9 million, GeoLite2-ASN 11, GeoLite2-City 65.
pub const MOST: u64 = 256 << 20;

/// At most so many networks of a file are looked at to see whether it is of the right kind.
const SAMPLE: usize = 1_000;

/// At most so many characters of an operator's name are shown.
const LONGEST: usize = 32;

const COUNTRY: [&str; 2] = ["country", "iso_code"];
/// Where a network is registered, if nobody knows where it is.
const REGISTERED: [&str; 2] = ["registered_country", "iso_code"];
const NUMBER: [&str; 1] = ["autonomous_system_number"];
const NAME: [&str; 1] = ["autonomous_system_organization"];

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {}: {what}", path.display())]
pub struct Error {
    /// Key of the configuration.
    pub key: &'static str,
    /// Path of the file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::CONFIG, error)
    }
}

/// The databases that are in force. Whoever has a copy sees what is read later.
#[derive(Clone, Debug, Default)]
pub struct Atlas {
    maps: Arc<RwLock<Arc<Maps>>>,
}

/// What is known of where an address is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Number and name of the operator of its network, such as `AS8151 Uninet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

#[derive(Debug, Default)]
struct Maps {
    countries: Option<Reader<Vec<u8>>>,
    networks: Option<Reader<Vec<u8>>>,
}

impl Atlas {
    /// Reads the files that are configured; without any, nothing is looked up.
    ///
    /// # Errors
    /// If one cannot be read or is of another kind.
    pub fn open(config: &GeoConfig) -> Result<Atlas, Error> {
        let atlas = Atlas::default();
        atlas.reopen(config).map(|()| atlas)
    }

    /// Reads the files again: others may lie under their names.
    ///
    /// # Errors
    /// As [`open`](Atlas::open); what was read before stays in force.
    pub fn reopen(&self, config: &GeoConfig) -> Result<(), Error> {
        let open = |key, path: &Option<PathBuf>, field: &[&str]| {
            let read = |path: &PathBuf| read(path, field).map_err(|what| Error { key, path: path.clone(), what });
            path.as_ref().map(read).transpose()
        };
        let countries = open("geo.country", &config.country, &COUNTRY)?;
        let networks = open("geo.network", &config.network, &NUMBER)?;
        // A thread that panicked has ended the process.
        *self.maps.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Maps { countries, networks });
        Ok(())
    }

    /// Whether there is anything to look up.
    pub fn is_empty(&self) -> bool {
        let maps = self.maps();
        maps.countries.is_none() && maps.networks.is_none()
    }

    /// Where an address is, as far as it is known.
    pub fn place(&self, address: IpAddr) -> Place {
        let maps = self.maps();
        Place { country: maps.country(address), network: maps.network(address) }
    }

    /// Notes in each event of somebody who was refused which country he is in.
    pub fn locate(&self, events: &mut [SecurityEvent]) {
        let maps = self.maps();
        if maps.countries.is_some() {
            for event in events.iter_mut().filter(|event| event.kind.is_failure()) {
                event.country = maps.country(event.source());
            }
        }
    }

    fn maps(&self) -> Arc<Maps> {
        Arc::clone(&self.maps.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Maps {
    fn country(&self, address: IpAddr) -> Option<Country> {
        let found = self.countries.as_ref()?.lookup(address.to_canonical()).ok()?;
        let code = |path: &[&str]| found.decode_path::<&str>(&keys(path)).ok().flatten()?.parse().ok();
        code(&COUNTRY).or_else(|| code(&REGISTERED))
    }

    fn network(&self, address: IpAddr) -> Option<String> {
        let found = self.networks.as_ref()?.lookup(address.to_canonical()).ok()?;
        let number = found.decode_path::<u32>(&keys(&NUMBER)).ok().flatten()?;
        let name = found.decode_path::<&str>(&keys(&NAME)).ok().flatten().unwrap_or_default();
        let name: String = name.chars().take(LONGEST).collect();
        Some(printable(format!("AS{number} {name}").trim_end()))
    }
}

impl Place {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.network.is_none()
    }
}

impl fmt::Display for Place {
    /// `MX, AS8151 Uninet`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let country = self.country.map(|country| country.to_string());
        let known: Vec<&str> = country.as_deref().into_iter().chain(self.network.as_deref()).collect();
        f.write_str(&known.join(", "))
    }
}

/// Reads a file in which networks have this field.
fn read(path: &Path, field: &[&str]) -> Result<Reader<Vec<u8>>, String> {
    let bytes = bytes(path).map_err(|error| format!("cannot be read: {error}"))?;
    let reader = Reader::from_source(bytes).map_err(damaged)?;
    for network in reader.networks(WithinOptions::default()).map_err(damaged)?.take(SAMPLE) {
        if network.map_err(damaged)?.decode_path::<Ignored>(&keys(field)).is_ok_and(|found| found.is_some()) {
            return Ok(reader);
        }
    }
    let kind = printable(&reader.metadata().database_type);
    Err(format!("is a database of another kind ({kind}): its networks have no {}", field.join(".")))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other(format!("it has more than {} MiB", MOST >> 20)));
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}

fn damaged(error: MaxMindDbError) -> String {
    format!("is no database of MaxMind's format, or damaged ({error}); fetch it again")
}

fn keys<'a>(path: &'a [&'a str]) -> Vec<PathElement<'a>> {
    path.iter().map(|key| PathElement::Key(key)).collect()
}

/// Any value at all.
type Ignored = serde::de::IgnoredAny;

#[cfg(test)]
pub(crate) mod tests;
