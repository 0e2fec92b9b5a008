//! PURE: netlink's messages and their attributes, written and read.
//!
//! The numbers are those of `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.

const HEADER: usize = 16;
/// Family, version, resource: what each message of netfilter begins with.
pub(super) const GENERIC: usize = 4;
/// The upper half of the type of nf_tables' messages.
pub(super) const SUBSYSTEM: u16 = 10 << 8;
const INET: u8 = 1;

/// Bits of a message's flags.
pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
pub(super) const CREATE: u16 = 0x400;
pub(super) const INTERRUPTED: u16 = 0x10;
/// Bit of an attribute's type, which says that it holds others.
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;

/// Attributes of a message, or within another attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// All of them, each with its type.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
            let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & TYPE_MASK;
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    /// The first of a type.
    pub(super) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        self.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// Those within the first of a type.
    pub(super) fn within(self, wanted: u16) -> Option<Attributes<'a>> {
        self.get(wanted).map(Attributes)
    }

    /// A text, which ends in a zero.
    pub(super) fn text(self, wanted: u16) -> Option<&'a str> {
        let text = std::str::from_utf8(self.get(wanted)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }

    pub(super) fn number(self, wanted: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(wanted)?.try_into().ok()?))
    }

    pub(super) fn long_number(self, wanted: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(wanted)?.try_into().ok()?))
    }
}

/// An attribute.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((4 + value.len()).next_multiple_of(4));
    put(&mut bytes, kind, value);
    bytes
}

/// An attribute that holds others.
pub(super) fn nested(kind: u16, within: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, within)
}

/// A text with the zero at its end.
pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), b"\0"].concat())
}

/// Writes an attribute behind what is there.
pub(super) fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len() + length.next_multiple_of(4) - length, 0);
}

/// Writes an attribute that holds whatever `within` writes. Those must be padded, as [`put`] does.
pub(super) fn nest(bytes: &mut Vec<u8>, kind: u16, within: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend([0; 4]);
    within(bytes);
    let length = u16::try_from(bytes.len() - start).unwrap_or(u16::MAX);
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
}

/// A message of netfilter.
pub(super) fn message(kind: u16, flags: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + GENERIC + attributes.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    // Version 0; the resource, which is told at the ends of a transaction only, is nf_tables.
    bytes.extend([INET, 0]);
    bytes.extend((SUBSYSTEM >> 8).to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// A message that came.
pub(super) struct Message<'a> {
    pub kind: Kind,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

pub(super) enum Kind {
    /// The last of a listing.
    Done,
    /// An errno, or 0 for success.
    Error(i32),
    Data,
}

/// The messages of one answer of the kernel.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let short = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = usize::try_from(long(0)).ok()?;
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = match short(4) {
            DONE => Kind::Done,
            ERROR => Kind::Error(-payload.first_chunk().map_or(0, |errno| i32::from_ne_bytes(*errno))),
            _ => Kind::Data,
        };
        Some(Message { kind, flags: short(6), sequence: long(8), payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let bytes = [text(1, "sipban"), nested(3, &attribute(1, &7_u32.to_be_bytes())), attribute(5, b"x")].concat();
        let attributes = Attributes(&bytes);
        assert_eq!(attributes.text(1), Some("sipban"));
        assert_eq!(attributes.within(3).unwrap().number(1), Some(7));
        assert_eq!(attributes.get(5), Some(&b"x"[..]));
        assert_eq!(attributes.get(2), None);
        assert_eq!(attributes.iter().count(), 3);
    }

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let bytes = [message(SUBSYSTEM | 1, REQUEST, 9, &text(1, "t")), message(3, 0, 10, &[])].concat();
        let mut messages = messages(&bytes);
        let first = messages.next().unwrap();
        assert!(matches!(first.kind, Kind::Data) && (first.flags, first.sequence) == (REQUEST, 9));
        assert_eq!(Attributes(&first.payload[GENERIC..]).text(1), Some("t"));
        assert!(matches!(messages.next().unwrap().kind, Kind::Done));
        assert!(messages.next().is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            for message in messages(&bytes) {
                Attributes(message.payload).iter().count();
            }
            Attributes(&bytes).long_number(1);
        }
    }
}
