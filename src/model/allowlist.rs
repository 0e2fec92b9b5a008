//! Who is never blocked, as a set.

use super::nets::Nets;

/// A fixed set of networks of both families.
pub type Allowlist = Nets;
