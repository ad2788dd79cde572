//! `[aws]` and `[flow.aws]`: where the services are, as whom and by which way they are reached.
//!
//! What is not written stays open: for a flow `[aws]` decides, then the environment and the profile as the SDKs of AWS
//! read them, then a default of ours.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Placed, Table};
use crate::limits::{
    ATTEMPT_TIMEOUT, ATTEMPT_TIMEOUT_MAX, ATTEMPT_TIMEOUT_MIN, CONNECT_TIMEOUT, CONNECT_TIMEOUT_MAX, CONNECT_TIMEOUT_MIN,
};

/// `[aws]`, or `[flow.aws]`: where and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// Region; without it the SDK's chain decides (environment, profile, instance metadata).
    pub region: Option<String>,
    /// A profile of the AWS configuration files, before all other sources of credentials; without it `AWS_PROFILE`, then
    /// `default`, behind the keys of the environment.
    pub profile: Option<String>,
    /// A role taken on with the credentials that there are otherwise.
    pub assume_role: Option<AssumeRole>,
    /// Other addresses than those of the region.
    pub endpoints: Endpoints,
    /// The endpoints that are validated by FIPS 140.
    pub use_fips: Option<bool>,
    /// The endpoints that have IPv4 and IPv6.
    pub use_dualstack: Option<bool>,
    /// Whether endpoints have the number of the account in their names, where a service has such.
    pub account_id_endpoint_mode: Option<AccountIdEndpointMode>,
    /// The way out; without it the environment decides (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    pub proxy: Option<Proxy>,
    /// Host names (with all names below them), addresses and networks that are reached without the proxy.
    pub no_proxy: Option<Vec<String>>,
    /// PEM file of certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest for name, connection, proxy and TLS together.
    pub connect_timeout: Option<Duration>,
    /// Longest for a request as a whole.
    pub attempt_timeout: Option<Duration>,
    /// In which format records go to Kinesis.
    pub wire: Option<WireSetting>,
}

/// `wire`: in which format records go to Kinesis. To Firehose they go in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireSetting {
    /// CBOR; where it is refused, JSON.
    #[default]
    Auto,
    /// JSON.
    Json,
    /// CBOR, also where it is refused.
    Cbor,
}

impl WireSetting {
    const WORDS: [(&str, Self); 3] = [("auto", Self::Auto), ("json", Self::Json), ("cbor", Self::Cbor)];
}

/// `endpoints`: http or https URLs instead of those of the region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Kinesis Data Streams.
    pub kinesis: Option<String>,
    /// Firehose.
    pub firehose: Option<String>,
    /// The Security Token Service, which hands out credentials of roles.
    pub sts: Option<String>,
    /// `CloudWatch`.
    pub cloudwatch: Option<String>,
    /// The Key Management Service.
    pub kms: Option<String>,
    /// The instance metadata service of EC2.
    pub ec2_metadata: Option<String>,
}

/// `assume_role`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// `arn:aws:iam::123456789012:role/name`
    pub arn: String,
    /// What the owner of the role asks for.
    pub external_id: Option<String>,
    /// By which the owner of the role sees who it was; without it made of the name of the host.
    pub session_name: Option<String>,
}

/// `account_id_endpoint_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountIdEndpointMode {
    /// Where the number is known.
    Preferred,
    /// Always; a request without is an error.
    Required,
    /// Never.
    Disabled,
}

impl AccountIdEndpointMode {
    const WORDS: [(&str, Self); 3] = [("preferred", Self::Preferred), ("required", Self::Required), ("disabled", Self::Disabled)];

    /// The word for it, here and in the SDK.
    pub fn word(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Required => "required",
            Self::Disabled => "disabled",
        }
    }
}

/// `proxy`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// `"off"`: none, whatever the environment says.
    Off,
    /// All requests go through it but those to the host itself and to its metadata services.
    At(ProxyUrl),
}

/// The http or https URL of a proxy, perhaps with name and password, which only [`ProxyUrl::reveal`] shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// All of it, the password too.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProxyUrl {
    /// Without name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => write!(f, "{scheme}://{host}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Aws {
    /// These settings, and those of `base` where there are none. `assume_role` is one setting, each endpoint is one.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let Self {
            region,
            profile,
            assume_role,
            endpoints,
            use_fips,
            use_dualstack,
            account_id_endpoint_mode,
            proxy,
            no_proxy,
            ca_file,
            connect_timeout,
            attempt_timeout,
            wire,
        } = self.clone();
        Self {
            region: region.or_else(|| base.region.clone()),
            profile: profile.or_else(|| base.profile.clone()),
            assume_role: assume_role.or_else(|| base.assume_role.clone()),
            endpoints: endpoints.over(&base.endpoints),
            use_fips: use_fips.or(base.use_fips),
            use_dualstack: use_dualstack.or(base.use_dualstack),
            account_id_endpoint_mode: account_id_endpoint_mode.or(base.account_id_endpoint_mode),
            proxy: proxy.or_else(|| base.proxy.clone()),
            no_proxy: no_proxy.or_else(|| base.no_proxy.clone()),
            ca_file: ca_file.or_else(|| base.ca_file.clone()),
            connect_timeout: connect_timeout.or(base.connect_timeout),
            attempt_timeout: attempt_timeout.or(base.attempt_timeout),
            wire: wire.or(base.wire),
        }
    }

    /// Longest for name, connection, proxy and TLS together.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    /// Longest for a request as a whole.
    pub fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT)
    }

    /// In which format records go to Kinesis.
    pub fn wire(&self) -> WireSetting {
        self.wire.unwrap_or_default()
    }
}

impl Endpoints {
    fn over(self, base: &Self) -> Self {
        Self {
            kinesis: self.kinesis.or_else(|| base.kinesis.clone()),
            firehose: self.firehose.or_else(|| base.firehose.clone()),
            sts: self.sts.or_else(|| base.sts.clone()),
            cloudwatch: self.cloudwatch.or_else(|| base.cloudwatch.clone()),
            kms: self.kms.or_else(|| base.kms.clone()),
            ec2_metadata: self.ec2_metadata.or_else(|| base.ec2_metadata.clone()),
        }
    }
}

/// Characters of an ARN of a role: API reference of `AssumeRole`.
const ROLE_ARN_CHARS_MAX: usize = 2048;
/// Characters of an external ID, at least 2: the same.
const EXTERNAL_ID_CHARS_MAX: usize = 1224;
/// Characters of the name of a session, at least 2: the same.
pub const SESSION_NAME_CHARS_MAX: usize = 64;

/// Whether `c` may stand in the name of a session: `[\w+=,.@-]`, API reference of `AssumeRole`.
pub fn is_of_session_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

/// Reads `[aws]` or `[flow.aws]`.
pub(super) fn read(table: &mut Table<'_>) -> Aws {
    Aws {
        region: region(table),
        profile: profile(table),
        assume_role: table.optional_section("assume_role", assume_role).flatten(),
        endpoints: table.section("endpoints", endpoints),
        use_fips: table.boolean("use_fips"),
        use_dualstack: table.boolean("use_dualstack"),
        account_id_endpoint_mode: table.choice("account_id_endpoint_mode", &AccountIdEndpointMode::WORDS),
        proxy: proxy(table),
        no_proxy: no_proxy(table),
        ca_file: ca_file(table),
        connect_timeout: table
            .duration("connect_timeout", CONNECT_TIMEOUT_MIN..=CONNECT_TIMEOUT_MAX)
            .map(|written| written.value),
        attempt_timeout: table
            .duration("attempt_timeout", ATTEMPT_TIMEOUT_MIN..=ATTEMPT_TIMEOUT_MAX)
            .map(|written| written.value),
        wire: table.choice("wire", &WireSetting::WORDS),
    }
}

fn region(table: &mut Table<'_>) -> Option<String> {
    let Placed { value, place } = table.string("region")?;
    if !is_region(value) {
        let help = "write it as in the service's addresses, for example \"us-east-1\"";
        table.mistake(&place, format!("`region` cannot be \"{value}\""), help);
    }
    Some(value.to_owned())
}

/// Words of small letters, then a number: `us-east-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let mut words = text.split('-').rev();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.next().is_some_and(is_number) && words.clone().count() >= 2 && words.all(is_word)
}

fn profile(table: &mut Table<'_>) -> Option<String> {
    let Placed { value, place } = table.string("profile")?;
    if value.is_empty() || value.contains(|c: char| c.is_control() || c.is_whitespace() || "[]#;".contains(c)) {
        table.mistake(&place, "`profile` cannot be used", "write the name of a profile as in ~/.aws/config, without spaces");
    }
    Some(value.to_owned())
}

fn assume_role(table: &mut Table<'_>) -> Option<AssumeRole> {
    table.require("arn", "write arn = \"arn:aws:iam::123456789012:role/…\"");
    let arn = table.string("arn");
    if let Some(Placed { value, place }) = &arn
        && !is_role(value)
    {
        let help = "write the ARN of a role, for example \"arn:aws:iam::123456789012:role/logs\"";
        table.mistake(place, "`arn` is not the ARN of a role", help);
    }
    let external_id = bounded(table, "external_id", EXTERNAL_ID_CHARS_MAX, ('/', ':'), "`_+=,.@:/-`");
    let session_name = bounded(table, "session_name", SESSION_NAME_CHARS_MAX, ('_', '_'), "`_+=,.@-`");
    Some(AssumeRole { arn: arn?.value.to_owned(), external_id, session_name })
}

/// A string of 2 to `max` characters that may stand in the name of a session, or are one of `more`.
fn bounded(table: &mut Table<'_>, key: &'static str, max: usize, more: (char, char), others: &str) -> Option<String> {
    let Placed { value, place } = table.string(key)?;
    let is_allowed = |c: char| is_of_session_name(c) || c == more.0 || c == more.1;
    if !(2..=max).contains(&value.len()) || !value.chars().all(is_allowed) {
        let help = format!("write 2 to {max} letters, digits and {others}");
        table.mistake(&place, format!("`{key}` cannot be used"), help);
    }
    Some(value.to_owned())
}

/// `arn:partition:iam::account:role/name`, with a path before the name perhaps.
fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts.as_slice() else { return false };
    let is_name = |name: &str| !name.is_empty() && !name.ends_with('/') && name.chars().all(|c| c.is_ascii_graphic());
    *prefix == "arn"
        && partition.starts_with("aws")
        && *service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && resource.strip_prefix("role/").is_some_and(is_name)
        && arn.len() <= ROLE_ARN_CHARS_MAX
}

fn endpoints(table: &mut Table<'_>) -> Endpoints {
    let mut of = |key: &'static str, example: &str| url(table, key, &format!("write a URL, for example {example}"));
    Endpoints {
        kinesis: of("kinesis", "\"https://kinesis.us-east-1.amazonaws.com\" or \"http://127.0.0.1:4567\""),
        firehose: of("firehose", "\"https://firehose.us-east-1.amazonaws.com\""),
        sts: of("sts", "\"https://sts.us-east-1.amazonaws.com\""),
        cloudwatch: of("cloudwatch", "\"https://monitoring.us-east-1.amazonaws.com\""),
        kms: of("kms", "\"https://kms.us-east-1.amazonaws.com\""),
        ec2_metadata: of("ec2_metadata", "\"http://[fd00:ec2::254]\""),
    }
}

fn url(table: &mut Table<'_>, key: &'static str, help: &str) -> Option<String> {
    let Placed { value, place } = table.string(key)?;
    if !is_url(value) || value.contains('@') {
        table.mistake(&place, format!("`{key}` must be an http or https URL"), help);
    }
    Some(value.to_owned())
}

fn is_url(text: &str) -> bool {
    let uri = text.parse::<hyper::Uri>().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()))
}

fn proxy(table: &mut Table<'_>) -> Option<Proxy> {
    let Placed { value, place } = table.string("proxy")?;
    if value == "off" {
        return Some(Proxy::Off);
    }
    // A path behind it would be ignored, which is taken for a mistake.
    let is_bare = value.split_once("://").is_some_and(|(_, rest)| !rest.trim_end_matches('/').contains(['/', '?', '#']));
    if !is_url(value) || !is_bare {
        let help = "write an http or https URL, for example \"http://proxy:3128\" or \"http://name:password@proxy:3128\", in \
                    which other characters than letters and digits are written as %40, or \"off\"";
        table.mistake(&place, "`proxy` must be the URL of a proxy", help);
    }
    Some(Proxy::At(ProxyUrl(value.to_owned())))
}

fn no_proxy(table: &mut Table<'_>) -> Option<Vec<String>> {
    let written = table.strings("no_proxy")?;
    for Placed { value, place } in &written {
        if value.is_empty()
            || value.contains(|c: char| c.is_whitespace() || c.is_control() || ",/:".contains(c)) && !is_net(value)
        {
            let help = "write a host name, \".internal\" for all names below it, an address, or a network such as \"10.0.0.0/8\"";
            table.mistake(place, format!("`no_proxy` cannot have \"{value}\""), help);
        }
    }
    Some(written.into_iter().map(|Placed { value, .. }| value.to_owned()).collect())
}

/// An address of IPv6, or a network of either kind.
fn is_net(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    let bits_max = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max)
}

fn ca_file(table: &mut Table<'_>) -> Option<PathBuf> {
    let Placed { value, place } = table.string("ca_file")?;
    let path = PathBuf::from(value);
    if !path.is_absolute() {
        table.mistake(&place, "`ca_file` must be an absolute path", "write for example \"/etc/ssl/company.pem\"");
    }
    Some(path)
}

/// `source` with `*` for every byte of a password in a URL, and of all that could be one in the value of `proxy`, so that a
/// mistake can be shown in its line.
pub(super) fn without_passwords(source: &str) -> String {
    let shown = without_passwords_of_urls(source);
    let hidden = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let is_proxy = key
            .trim_start_matches('#')
            .trim()
            .rsplit(['.', '{', ',', ' '])
            .next()
            .is_some_and(|key| key.trim_matches(['"', '\'']) == "proxy");
        let (secret, rest) = value.rsplit_once('@').filter(|_| is_proxy)?;
        Some(format!("{key}={}@{rest}", hidden_credentials(secret)))
    };
    shown.split_inclusive('\n').map(|line| hidden(line).unwrap_or_else(|| line.to_owned())).collect()
}

/// `text`, which ends before the `@` of a URL that may be a wrong one, with `*` for every byte but its quotes and its scheme.
fn hidden_credentials(text: &str) -> String {
    let start =
        text.find("://").map_or_else(|| text.find(['"', '\'']).map_or(0, |quote| quote + 1), |scheme| scheme + "://".len());
    let (shown, secret) = text.split_at(start);
    // What stands before a colon is a name.
    let name_length = secret.find(':').map_or(0, |colon| colon + 1);
    format!("{shown}{}{}", &secret[..name_length], "*".repeat(secret.len() - name_length))
}

fn without_passwords_of_urls(source: &str) -> String {
    let mut shown = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        shown.push_str(before);
        let end = after.find(['/', '"', '\'', '\n']).unwrap_or(after.len());
        let (authority, following) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                shown.push_str(name);
                shown.push_str(&user[name.len()..user.len() - password.len()]);
                shown.extend(std::iter::repeat_n('*', password.len()));
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = following;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests;
