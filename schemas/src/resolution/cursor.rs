//! A place in the bytes of a value, and how much work may still be done from it.

/// Where a value is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{path}`, byte {at}: {reason}")]
pub struct WalkError {
    /// The field, as far as it was known; it grows on the way out.
    pub path: String,
    /// Byte of the value, from 0.
    pub at: usize,
    /// What was expected and found.
    pub reason: String,
}

impl WalkError {
    pub(crate) fn under(mut self, step: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => step.to_owned(),
            rest if rest.starts_with(['[', '{']) => format!("{step}{rest}"),
            rest => format!("{step}.{rest}"),
        };
        self
    }
}

pub(crate) type Walk<T> = Result<T, WalkError>;

/// The rest of a value.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    steps: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], steps: usize) -> Self {
        Self { bytes, at: 0, steps }
    }

    pub(crate) fn fault(&self, reason: impl Into<String>) -> WalkError {
        WalkError { path: String::new(), at: self.at, reason: reason.into() }
    }

    /// Counts one value.
    pub(crate) fn step(&mut self) -> Walk<()> {
        match self.steps.checked_sub(1) {
            Some(rest) => {
                self.steps = rest;
                Ok(())
            }
            None => Err(self.fault("more values than an event may hold")),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Walk<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if count > rest.len() {
            let reason = format!("{count} bytes are announced and {} are left", rest.len());
            return Err(self.fault(reason));
        }
        self.at += count;
        Ok(&rest[..count])
    }

    /// A zigzag varint.
    pub(crate) fn long(&mut self) -> Walk<i64> {
        let mut number = 0_u64;
        for (index, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            if index == 9 && *byte > 1 {
                return Err(self.fault("a number of more than 64 bits"));
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()));
            }
        }
        Err(self.fault("the value ends within a number"))
    }

    /// A length of bytes or text.
    pub(crate) fn length(&mut self) -> Walk<usize> {
        let number = self.long()?;
        usize::try_from(number).map_err(|_| self.fault(format!("a length of {number}")))
    }

    /// Items of the next block of an array or map; 0 at the end. The byte size some writers put in front is not needed.
    /// The smallest number has no counterpart that could be written again.
    pub(crate) fn block(&mut self) -> Walk<usize> {
        let number = self.long()?;
        if number < 0 {
            self.length()?;
        }
        let count = number.checked_abs().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.fault(format!("a block of {} items", number.unsigned_abs())))
    }

    /// The bytes from an earlier place to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Refuses what follows the value.
    pub(crate) fn end(&self) -> Walk<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            rest => Err(self.fault(format!("{rest} bytes follow the value; expected none"))),
        }
    }
}
