//! Where a partition key lies among the hash keys, and which of them a shard holds.

use md5::{Digest as _, Md5};

/// The hash key of a record without an explicit one: the MD5 of its partition key, most significant byte first.
pub fn hash_of(partition_key: impl AsRef<[u8]>) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// The hash keys of one shard, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// The first.
    pub start: u128,
    /// The last.
    pub end: u128,
}

impl HashRange {
    /// Every hash key there is.
    pub const ALL: Self = Self { start: 0, end: u128::MAX };

    /// The range that `ListShards` writes as two decimal numbers; `None` if they are not.
    pub fn parse(start: &str, end: &str) -> Option<Self> {
        Some(Self { start: start.parse().ok()?, end: end.parse().ok()? })
    }

    /// Whether a record with this hash key belongs to the shard.
    pub fn contains(self, hash_key: u128) -> bool {
        (self.start..=self.end).contains(&hash_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_hash_as_the_service_hashes_them() {
        for (partition_key, hash_key) in [
            ("a", 16955237001963240173058271559858726497),
            ("k1", 242208671286853988395785178707875403226),
            ("é", 136732923097551493579404309126273812335),
            (&"x".repeat(256), 265353499944959180620795534685136097465),
        ] {
            assert_eq!(hash_of(partition_key), hash_key, "{partition_key}");
        }
    }

    #[test]
    fn both_ends_of_a_range_are_in_it() {
        let range = HashRange::parse("10", "20").unwrap();
        assert_eq!([9, 10, 20, 21].map(|hash_key| range.contains(hash_key)), [false, true, true, false]);
        assert_eq!(HashRange::parse("0", "340282366920938463463374607431768211455"), Some(HashRange::ALL));
        assert_eq!(HashRange::parse("0", "340282366920938463463374607431768211456"), None);
    }
}
