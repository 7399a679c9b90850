//! What a glance sees of the parts of an event: that they are of their type, and nothing of what they say.
//!
//! Every type here takes less than the one it stands for, never more.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::Timestamp;
use crate::event::{MAX_ENTRIES, is_plain_name};

/// Levels of lists and objects in a free-form part that are looked into; deeper ones are rare.
const MAX_LEVELS: usize = 8;

/// Takes a value with one visitor.
macro_rules! visited {
    ($(#[$doc:meta])* $name:ident, $method:ident, $expected:literal, { $($visit:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name;

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Eyes;

                impl<'de> Visitor<'de> for Eyes {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    $($visit)*
                }

                deserializer.$method(Eyes)
            }
        }
    };
}

visited! {
    /// Any text.
    Text, deserialize_str, "a text", {
        fn visit_str<E>(self, _: &str) -> Result<Text, E> {
            Ok(Text)
        }
    }
}

visited! {
    /// A name as [`crate::event`] wants it.
    Name, deserialize_str, "a name", {
        fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
            if is_plain_name(text) { Ok(Name) } else { Err(unsure()) }
        }
    }
}

visited! {
    /// A finite number.
    Number, deserialize_any, "a number", {
        fn visit_f64<E>(self, _: f64) -> Result<Number, E> {
            Ok(Number)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Number, E> {
            Ok(Number)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Number, E> {
            Ok(Number)
        }
    }
}

visited! {
    /// How a trial ended.
    Status, deserialize_str, "a status", {
        fn visit_str<E: Error>(self, text: &str) -> Result<Status, E> {
            if matches!(text, "succeeded" | "failed" | "skipped" | "cancelled" | "pruned") {
                Ok(Status)
            } else {
                Err(unsure())
            }
        }
    }
}

visited! {
    /// A point in time.
    Moment, deserialize_str, "a UTC time", {
        fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
            if is_ordinary_moment(text.as_bytes()) || Timestamp::parse(text).is_ok() {
                Ok(Moment)
            } else {
                Err(unsure())
            }
        }
    }
}

visited! {
    /// Nothing.
    Nothing, deserialize_any, "null", {
        fn visit_unit<E>(self) -> Result<Nothing, E> {
            Ok(Nothing)
        }
    }
}

visited! {
    /// A list of nothing.
    Empty, deserialize_seq, "an empty list", {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Empty, A::Error> {
            if seq.next_element::<Nothing>()?.is_none() { Ok(Empty) } else { Err(unsure()) }
        }
    }
}

visited! {
    /// A list of texts.
    Texts, deserialize_seq, "a list of texts", {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
            for _ in 0..=MAX_ENTRIES {
                if seq.next_element::<Text>()?.is_none() {
                    return Ok(Texts);
                }
            }
            Err(unsure())
        }
    }
}

visited! {
    /// Finite numbers by name.
    Metrics, deserialize_map, "numbers by name", {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics, A::Error> {
            for _ in 0..=MAX_ENTRIES {
                if map.next_key::<Name>()?.is_none() {
                    return Ok(Metrics);
                }
                map.next_value::<Number>()?;
            }
            Err(unsure())
        }
    }
}

visited! {
    /// A free-form object.
    Members, deserialize_map, "an object", {
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members, A::Error> {
            Free { levels_left: MAX_LEVELS }.visit_map(map)?;
            Ok(Members)
        }
    }
}

/// A free-form value.
struct Free {
    levels_left: usize,
}

impl Free {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(unsure)?;
        Ok(Self { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for Free {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Free {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<Text>()?.is_some() {
            map.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

/// `2026-01-31T12:00:00Z`, with up to nine digits of a second, on a day every month has.
fn is_ordinary_moment(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_at_checked(19) else { return false };
    let two = |at: usize| {
        let digits = [date[at], date[at + 1]].map(|byte| byte.wrapping_sub(b'0'));
        if digits.iter().all(|digit| *digit <= 9) { digits[0] * 10 + digits[1] } else { u8::MAX }
    };
    let is_marked = [4, 7, 10, 13, 16].map(|at| date[at]) == *b"--T::";
    let is_day = two(0) <= 99 && two(2) <= 99 && (1..=12).contains(&two(5)) && (1..=28).contains(&two(8));
    let is_time = two(11) <= 23 && two(14) <= 59 && two(17) <= 59;
    let fraction = match rest {
        [b'Z'] => &[b'0'][..],
        [b'.', fraction @ .., b'Z'] => fraction,
        _ => &[],
    };
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.iter().all(u8::is_ascii_digit);
    is_marked && is_day && is_time && is_fraction
}

/// Nobody reads it: the event is read in full, and what is wrong with it told then.
fn unsure<E: de::Error>() -> E {
    E::custom("")
}
