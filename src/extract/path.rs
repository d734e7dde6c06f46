//! What the `{name}` segments of a route matched.

use super::{FromRequestParts, OptionalFromRequestParts};
use crate::error::{Error, Result};
use crate::http::request::Request;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::de::value::{Error as ValueError, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::borrow::Cow;

/// What the route's `{name}` segments matched, percent-decoded and deserialized. 400 if it does not fit.
///
/// One segment makes one value. Several segments make a tuple, in their order, or a struct or map, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts for Path<T> {
    fn from_request_parts(request: &Request) -> Result<Self> {
        let bad = |reason: String| Error::with_status(StatusCode::BAD_REQUEST, format!("the path: {reason}"));
        let segments = request
            .params()
            .map(|(name, value)| match percent_decode_str(value).decode_utf8() {
                Ok(value) => Ok((name, Segment(value))),
                Err(_) => Err(bad(format!("{name} is not UTF-8"))),
            })
            .collect::<Result<Vec<_>>>()?;
        T::deserialize(Segments(segments)).map(Path).map_err(|error| bad(error.to_string()))
    }
}

impl<T: DeserializeOwned> OptionalFromRequestParts for Path<T> {
    fn is_absent(request: &Request) -> bool {
        request.params().len() == 0
    }
}

/// What all `{name}` segments of a path matched, with their names.
struct Segments<'a>(Vec<(&'a str, Segment<'a>)>);

impl<'a> Segments<'a> {
    fn single(self) -> Result<Segment<'a>, ValueError> {
        let count = self.0.len();
        match (self.0.into_iter().next(), count) {
            (Some((_, segment)), 1) => Ok(segment),
            _ => Err(ValueError::custom(format!(
                "one value was asked for, but the route has {count} segments"
            ))),
        }
    }

    fn sequence<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let mut segments = SeqDeserializer::new(self.0.into_iter().map(|(_, segment)| segment));
        let value = visitor.visit_seq(&mut segments)?;
        segments.end()?;
        Ok(value)
    }

    fn map<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_map(MapDeserializer::new(self.0.into_iter()))
    }
}

macro_rules! single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            self.single()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Segments<'_> {
    type Error = ValueError;

    single! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_option
        deserialize_identifier deserialize_any deserialize_bytes deserialize_byte_buf
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.sequence(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.sequence(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.sequence(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }
}

/// What one segment matched: text, which may be parsed as a number.
struct Segment<'a>(Cow<'a, str>);

impl<'a> IntoDeserializer<'_, ValueError> for Segment<'a> {
    type Deserializer = Segment<'a>;

    fn into_deserializer(self) -> Self::Deserializer {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self.0.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(ValueError::custom(format!("{:?} is not a valid {}", self.0, stringify!($type)))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Segment<'_> {
    type Error = ValueError;

    parsed! {
        deserialize_bool visit_bool bool
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
        deserialize_char visit_char char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_string(self.0.into_owned())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(self.0.into_owned().into_deserializer())
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::HashMap;

    fn path<T: DeserializeOwned>(segments: &[(&str, &str)]) -> Result<T, String> {
        let segments = segments.iter().map(|(name, value)| (*name, Segment(Cow::Borrowed(*value)))).collect();
        T::deserialize(Segments(segments)).map_err(|error| error.to_string())
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Named {
        id: u32,
        kind: Kind,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Wild,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Id(u8);

    #[test]
    fn one_segment_is_a_value_and_several_are_a_tuple_a_struct_or_a_map() {
        assert_eq!(path(&[("a", "x y")]), Ok("x y".to_owned()));
        assert_eq!(path(&[("a", "7")]), Ok(7_i64));
        assert_eq!(path(&[("a", "7")]), Ok(Id(7)));
        assert_eq!(path(&[("a", "wild")]), Ok(Kind::Wild));
        assert_eq!(path(&[("a", "7"), ("b", "x")]), Ok((7_u8, "x".to_owned())));
        assert_eq!(path(&[("id", "7"), ("kind", "wild")]), Ok(Named { id: 7, kind: Kind::Wild }));
        let map: HashMap<String, String> = path(&[("id", "7")]).unwrap();
        assert_eq!(map["id"], "7");
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_it() {
        assert!(path::<u8>(&[("a", "256")]).unwrap_err().contains("\"256\" is not a valid u8"));
        assert!(path::<String>(&[("a", "1"), ("b", "2")]).unwrap_err().contains("2 segments"));
        assert!(path::<(u8,)>(&[("a", "1"), ("b", "2")]).is_err());
    }
}
