//! Where Go's JSON differs from serde's: `null` means "not set", whole floats have no `.0`, bytes
//! are base64.

use serde::{Deserialize, Deserializer, Serializer};

/// `null` leaves a Go field as it was.
pub fn null_as_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A Go duration of nothing.
pub fn no_duration() -> String {
    "0s".into()
}

/// A duration is a text; a JSON number is an error for Kopia, too.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_else(no_duration))
}

/// Go leaves out `false` under `omitempty`.
pub fn is_false(value: &bool) -> bool {
    !value
}

/// Go leaves out a zero float.
pub fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Go leaves out a zero integer.
pub fn is_none(value: &i64) -> bool {
    *value == 0
}

/// Go writes the float 7.0 as `7`.
pub fn go_float<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    // Whole numbers up to 2^53 are exact in both forms; Kopia's limits never come near.
    if value.fract() == 0.0 && value.abs() < 9e15 {
        to.serialize_i64(*value as i64)
    } else {
        to.serialize_f64(*value)
    }
}

/// Go's `[]byte`.
pub mod base64 {
    use ::base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = Option::<String>::deserialize(from)?.unwrap_or_default();
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
