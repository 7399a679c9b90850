//! Reads records as JSON objects only, and sees whether one has fields its type does not know, without writing down
//! their names.
//!
//! Serde's derived types also take a list for a record, by position: `["r", "why"]` would be a request. The contract
//! calls that a wrong type.
//!
//! Events nearly always hold nothing unknown, and keeping the path of every field for the one that is costs a third of
//! the reading. A type asks its deserializer to ignore a value only when it does not know the field; this wrapper
//! notices that, and the caller then reads again with the paths.
//!
//! Only what can hold a record is wrapped (records, options, lists). Maps and free-form values know no unknown fields.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

/// Reads a value; true beside it when something was ignored.
pub(in crate::codec) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    inner: D,
) -> Result<(T, bool), D::Error> {
    let ignored = Cell::new(false);
    let value = T::deserialize(Watched { inner, ignored: &ignored })?;
    Ok((value, ignored.get()))
}

/// A deserializer, visitor, seed or access that is watched.
struct Watched<'w, T> {
    inner: T,
    ignored: &'w Cell<bool>,
}

impl<'w, T> Watched<'w, T> {
    fn with<U>(&self, inner: U) -> Watched<'w, U> {
        Watched { inner, ignored: self.ignored }
    }
}

macro_rules! plain {
    ($($method:ident($($name:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.inner.$method($($name,)* visitor)
        }
    )*};
}

macro_rules! watched {
    ($($method:ident($($name:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = self.with(visitor);
            self.inner.$method($($name,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Watched<'_, D> {
    type Error = D::Error;

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.ignored.set(true);
        self.inner.deserialize_ignored_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = ObjectOnly(self.with(visitor));
        self.inner.deserialize_struct(name, fields, visitor)
    }

    watched! {
        deserialize_option()
        deserialize_seq()
    }

    plain! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_unit() deserialize_map() deserialize_identifier()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
    }

    /// Ours have no contents, and are written as their names; `{"failed": null}` would do for serde's own.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_str(SymbolOnly(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What records are visited with: a list is no record.
struct ObjectOnly<'w, V>(Watched<'w, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for ObjectOnly<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object: ")?;
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(access)
    }
}

/// What enumerations are visited with: a name.
struct SymbolOnly<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for SymbolOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<V::Value, E> {
        self.0.visit_enum(name.into_deserializer())
    }
}

/// What options and lists are visited with, and records behind [`ObjectOnly`]. Anything else they find is the visitor's own to refuse.
impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let watched = self.with(deserializer);
        self.inner.visit_some(watched)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        let watched = self.with(access);
        self.inner.visit_seq(watched)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        let watched = self.with(access);
        self.inner.visit_map(watched)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let watched = self.with(deserializer);
        self.inner.deserialize(watched)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}
