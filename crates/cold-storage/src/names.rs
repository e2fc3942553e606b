//! How classes and tiers are written in plans: by name, tiers in small letters.

use blob_core::Tier;

/// The name of a tier on the command line and in plans.
pub fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Bulk => "bulk",
        Tier::Standard => "standard",
        Tier::Expedited => "expedited",
    }
}

/// The tier of a name, in letters of any case.
pub fn parse_tier(name: &str) -> Option<Tier> {
    Tier::ALL.into_iter().find(|tier| tier_name(*tier).eq_ignore_ascii_case(name))
}

pub(crate) mod tier {
    use blob_core::Tier;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(tier: &Tier, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(super::tier_name(*tier))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Tier, D::Error> {
        let name = String::deserialize(from)?;
        super::parse_tier(&name).ok_or_else(|| de::Error::custom(format!("no tier: {name:?}")))
    }
}

pub(crate) mod class {
    use blob_core::StorageClass;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(
        class: &Option<StorageClass>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        class.as_ref().map(StorageClass::as_str).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<StorageClass>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(StorageClass::new))
    }
}
