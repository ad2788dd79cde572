//! `[prices]`: what `kinetail estimate` reckons with.

use serde::Serialize;

use super::mistakes::{listed, nearest};
use super::reader::Table;

/// Prices of Kinesis Data Streams and Data Firehose, all in one currency, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// An hour of one shard of a provisioned stream.
    pub shard_hour: f64,
    /// A million PUT payload units, provisioned.
    pub put_units_million: f64,
    /// An hour of an on-demand stream.
    pub on_demand_stream_hour: f64,
    /// A GiB that comes into an on-demand stream, each record rounded up.
    pub on_demand_gib_in: f64,
    /// A GiB that consumers get out of an on-demand stream.
    pub on_demand_gib_out: f64,
    /// A GiB that is put into a delivery stream, each record rounded up: the GB of the price list, of which the example there has
    /// 1,048,576 KB.
    pub firehose_gib_in: f64,
}

/// Those of us-east-1 in US dollars, without any discount (on-demand: the "standard" mode), by the table of
/// <https://www.trek10.com/blog/amazon-kinesis-data-streams-on-demand-vs.-provisioned-billing-mode-cost-comparison>, for
/// [`Prices::DEFAULT_DATE`]. What is charged is defined at <https://aws.amazon.com/kinesis/data-streams/pricing/>. That of Data
/// Firehose is by <https://kennethjorgensen.com/blog/2022/enable-record-aggregation-in-the-kinesis-firehose-agent/>, for the first
/// 500 TB of a month; what is charged is defined at <https://aws.amazon.com/firehose/pricing/>.
impl Default for Prices {
    fn default() -> Self {
        Self {
            shard_hour: 0.015,
            put_units_million: 0.014,
            on_demand_stream_hour: 0.04,
            on_demand_gib_in: 0.08,
            on_demand_gib_out: 0.04,
            firehose_gib_in: 0.029,
        }
    }
}

impl Prices {
    /// When the defaults were looked up.
    pub const DEFAULT_DATE: &str = "2023-09-21";
    /// Where they hold.
    pub const DEFAULT_REGION: &str = "us-east-1";
    /// Their currency.
    pub const DEFAULT_CURRENCY: &str = "USD";
    /// The names of all prices.
    pub const KEYS: [&str; 6] =
        ["shard_hour", "put_units_million", "on_demand_stream_hour", "on_demand_gib_in", "on_demand_gib_out", "firehose_gib_in"];

    /// Each price with its name.
    pub fn all(&self) -> [(&'static str, f64); 6] {
        let mut prices = *self;
        Self::KEYS.map(|key| (key, prices.place(key).map_or(0.0, |price| *price)))
    }

    /// Reads `shard_hour=0.018`; the error says what to write.
    pub fn parse_setting(text: &str) -> Result<(&'static str, f64), String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("write KEY=VALUE, for example {}=0.018", Self::KEYS[0]))?;
        let Some(key) = Self::KEYS.into_iter().find(|key| *key == name.trim()) else {
            let meant = nearest(name.trim(), Self::KEYS).map(|key| format!("did you mean `{key}`? ")).unwrap_or_default();
            return Err(format!("{meant}prices are {}", listed(Self::KEYS, '`')));
        };
        let value = value.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
        value.map(|value| (key, value)).ok_or_else(|| format!("write a number, 0 or more, for example {key}=0.018"))
    }

    /// Sets the price `key`, one of [`Prices::KEYS`].
    pub fn set(&mut self, key: &str, value: f64) {
        if let Some(price) = self.place(key) {
            *price = value;
        }
    }

    fn place(&mut self, key: &str) -> Option<&mut f64> {
        match key {
            "shard_hour" => Some(&mut self.shard_hour),
            "put_units_million" => Some(&mut self.put_units_million),
            "on_demand_stream_hour" => Some(&mut self.on_demand_stream_hour),
            "on_demand_gib_in" => Some(&mut self.on_demand_gib_in),
            "on_demand_gib_out" => Some(&mut self.on_demand_gib_out),
            "firehose_gib_in" => Some(&mut self.firehose_gib_in),
            _ => None,
        }
    }
}

/// Reads `[prices]`.
pub(super) fn read(table: &mut Table<'_>) -> Prices {
    let mut prices = Prices::default();
    for key in Prices::KEYS {
        if let Some(value) = table.number(key, 0.0..=f64::MAX).map(|number| number.value) {
            prices.set(key, value);
        }
    }
    prices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parsed(prices: &str) -> Result<Prices, String> {
        let text = format!("[prices]\n{prices}\n[[flow]]\nname = 'f'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n");
        Config::parse(&text, "test").map(|config| config.prices).map_err(|mistakes| {
            mistakes.iter().map(|mistake| format!("{} ({})", mistake.message, mistake.help.clone().unwrap_or_default())).collect()
        })
    }

    #[test]
    fn prices_are_numbers_and_those_not_written_have_their_defaults() {
        let expected = Prices { shard_hour: 0.018, on_demand_gib_out: 1.0, put_units_million: 0.0, ..Prices::default() };
        assert_eq!(parsed("shard_hour = 0.018\non_demand_gib_out = 1\nput_units_million = 0.0"), Ok(expected));
        for (written, mistake) in [
            ("shard_hour = '1'", "`shard_hour` must be a number, not a string (write it in digits, without quotes)"),
            ("shard_hour = -0.5", "`shard_hour` is out of range: -0.5 (0 or more)"),
            ("shard_hour = inf", "`shard_hour` is out of range: inf (0 or more)"),
            ("shard_hours = 1", "unknown key `shard_hours` in [prices] (did you mean `shard_hour`?)"),
        ] {
            assert_eq!(parsed(written), Err(mistake.to_owned()));
        }
    }

    #[test]
    fn each_price_has_its_name() {
        let mut prices = Prices::default();
        for (index, key) in Prices::KEYS.into_iter().enumerate() {
            prices.set(key, index as f64);
        }
        assert_eq!(prices.all().map(|(_, price)| price), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let serde_json::Value::Object(written) = serde_json::to_value(prices).unwrap() else { panic!("no table") };
        assert!(prices.all().iter().all(|(key, price)| written[*key] == *price) && written.len() == 6);
    }

    #[test]
    fn settings_of_the_command_line() {
        assert_eq!(Prices::parse_setting("shard_hour=0.018"), Ok(("shard_hour", 0.018)));
        for (text, help) in [
            ("0.018", "write KEY=VALUE, for example shard_hour=0.018"),
            ("on_demand_gib_inn=1", "did you mean `on_demand_gib_in`? prices are "),
            ("x=1", "prices are `shard_hour`"),
            ("shard_hour=free", "write a number, 0 or more, for example shard_hour=0.018"),
            ("shard_hour=-1", "write a number, 0 or more"),
            ("shard_hour=NaN", "write a number, 0 or more"),
        ] {
            let error = Prices::parse_setting(text).unwrap_err();
            assert!(error.starts_with(help), "{text}: {error}");
        }
    }
}
