//! The lines of a frame, read one after the other.

/// The lines that have not been read yet. They end with CR LF; a bare CR or LF is a part of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameLines<'a>(&'a [u8]);

impl<'a> FrameLines<'a> {
    /// The lines of a whole frame.
    pub(super) fn of(frame: &'a [u8]) -> FrameLines<'a> {
        FrameLines(frame)
    }

    /// The bytes that have not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether all of them have been read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the next line has this key.
    pub(super) fn has_next(&self, key: &[u8]) -> bool {
        self.0.strip_prefix(key).is_some_and(|rest| rest.starts_with(b": "))
    }

    /// The value of the next line, if that line has this key.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<&'a [u8]> {
        let value = self.0.strip_prefix(key)?.strip_prefix(b": ")?;
        let end = line_end(value);
        self.0 = value.get(end + 2..).unwrap_or_default();
        Some(&value[..end])
    }

    /// The value of the first line, from here on, that has this key.
    pub(super) fn find(mut self, key: &[u8]) -> Option<&'a [u8]> {
        std::iter::from_fn(|| self.next_pair_or_line()).find_map(|(name, value)| value.filter(|_| name == key))
    }

    /// Passes over the next line if it is well-formed and its key is none of these; `None` if not.
    pub(super) fn skip_unless(&mut self, keys: &[&[u8]]) -> Option<()> {
        let mut ahead = *self;
        let (key, value) = ahead.next_pair_or_line()?;
        value?;
        let well_formed = !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric) && !keys.contains(&key);
        well_formed.then(|| *self = ahead)
    }

    /// Whether any of them has one of these keys.
    pub(super) fn name_any(&self, keys: &[&[u8]]) -> bool {
        self.before_any(keys).is_some()
    }

    /// What stands before the first line that has one of these keys, without the end of the line before it.
    pub(super) fn before_any(&self, keys: &[&[u8]]) -> Option<&'a [u8]> {
        let mut ahead = *self;
        loop {
            let read = self.0.len() - ahead.0.len();
            let (key, _) = ahead.next_pair_or_line()?;
            if keys.contains(&key) {
                return Some(&self.0[..read.saturating_sub(2)]);
            }
        }
    }

    /// The next line as key and value, or as a whole if it is no pair.
    fn next_pair_or_line(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.0.is_empty() {
            return None;
        }
        let end = line_end(self.0);
        let line = &self.0[..end];
        self.0 = self.0.get(end + 2..).unwrap_or_default();
        Some(match memchr::memchr(b':', line) {
            Some(colon) if line[colon + 1..].starts_with(b" ") => (&line[..colon], Some(&line[colon + 2..])),
            _ => (line, None),
        })
    }
}

/// Length of the first line, without its CR LF.
fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\r', bytes).find(|&at| bytes.get(at + 1) == Some(&b'\n')).unwrap_or(bytes.len())
}
