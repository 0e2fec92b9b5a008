//! TLS for all that calls others: one provider of cryptography, one way to say whom to trust.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The certificate that a client shows, and its key, as files in PEM form.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The certificate, followed by those between it and the authority.
    pub certificate: &'a Path,
    /// Its private key.
    pub key: &'a Path,
}

/// The provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What to speak TLS with. Without `ca`, a file in PEM form, those authorities are trusted that the machine trusts.
///
/// # Errors
/// Names the file that cannot be read or used.
pub fn client(ca: Option<&Path>, identity: Option<Identity<'_>>) -> Result<Arc<ClientConfig>, String> {
    let trust = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_root_certificates(roots(ca)?);
    let client = match identity {
        None => trust.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| about(key, &why))?;
            let chain = certificates(certificate)?;
            trust.with_client_auth_cert(chain, secret).map_err(|why| about(certificate, &why))?
        }
    };
    Ok(Arc::new(client))
}

/// The certificates of the authorities to trust: those of `ca`, a file in PEM form, or else those of this machine.
///
/// # Errors
/// Names the file that cannot be read or used.
pub fn authorities(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    match ca {
        Some(file) => certificates(file),
        None => match rustls_native_certs::load_native_certs().certs {
            none if none.is_empty() => {
                Err("this machine trusts no authority for certificates; install ca-certificates".to_owned())
            }
            some => Ok(some),
        },
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let authorities = authorities(ca)?;
    match ca {
        Some(file) => {
            for certificate in authorities {
                roots.add(certificate).map_err(|why| about(file, &why))?;
            }
        }
        None => {
            // Among those of a machine there may be some that are of no use.
            roots.add_parsable_certificates(authorities);
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(about(file, &"there is no certificate in it")),
        read => read.map_err(|why| about(file, &why)),
    }
}

fn about(file: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_of_no_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let error = |text: Option<&str>| {
            text.inspect(|text| fs::write(&file, text).unwrap());
            client(Some(&file), None).unwrap_err()
        };
        let named = format!("{}: ", file.display());
        for text in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
            assert!(error(text).starts_with(&named), "{text:?}");
        }
    }
}
