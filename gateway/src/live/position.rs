//! Where a subscription continues: an offset of the account's stream, and the epoch of that stream.
//!
//! Offsets grow with every event and are the same on every gateway, but they are not dense: a stream carries the events of
//! many topics, and to number each topic's messages would need a shared counter per topic and a write per message. A gap
//! is detected by the history instead: a gateway knows since when it has every event, and refuses an older position.

use std::{fmt, str::FromStr};

/// A position: `epoch:offset`, two whole numbers below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Distinguishes the offsets from those of a stream that was lost.
    pub(crate) epoch: u64,
    /// All events with an offset up to this one have been seen.
    pub(crate) offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedPosition;

impl FromStr for Position {
    type Err = MalformedPosition;

    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        let (epoch, offset) = text.split_once(':').ok_or(MalformedPosition)?;
        let number = |digits: &str| digits.parse().map_err(|_| MalformedPosition);
        Ok(Self { epoch: number(epoch)?, offset: number(offset)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_two_numbers() {
        let position = Position { epoch: 7, offset: 9 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "7", "7:", ":9", "7:9:1", "a:9", "-1:9", "7:9007199254740993999999"] {
            assert_eq!(bad.parse::<Position>(), Err(MalformedPosition), "{bad}");
        }
    }
}
