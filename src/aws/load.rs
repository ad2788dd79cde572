//! From the settings to a configuration of the SDK: region, credentials, timeouts.
//!
//! Credentials come from the chain of the SDK (environment, profile, web identity, container, instance), from the profile
//! alone where the settings name one, and in either case by way of a role where they name one.

use aws_config::profile::ProfileFileCredentialsProvider;
#[expect(deprecated, reason = "what takes their place is in a crate that is not documented for others than the SDK")]
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::http::Http;
use crate::config::{Aws, SESSION_NAME_CHARS_MAX, is_of_session_name};

/// The configuration, perhaps without a region. `region` is one that is known from before, and `credentials` are used instead
/// of all others.
pub(super) async fn load(aws: &Aws, http: &Http, region: Option<Region>, credentials: Option<&Credentials>) -> SdkConfig {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(aws.connect_timeout()).operation_attempt_timeout(aws.attempt_timeout());
    // For what brings credentials: one that fails must not look as if nothing could be sent.
    let (timeouts, retries) = (timeouts.build(), RetryConfig::standard());
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .timeout_config(timeouts.clone())
        .retry_config(retries.clone())
        // The attempt timeout bounds a stalled request; a slow answer is no reason to send it twice.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .profile_files(profile_files(aws));
    if let Ok(name) = AppName::new(env!("CARGO_PKG_NAME")) {
        loader = loader.app_name(name);
    }
    if let Some(region) = aws.region.clone().map(Region::new).or(region) {
        loader = loader.region(region);
    }
    if let Some(profile) = &aws.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(use_fips) = aws.use_fips {
        loader = loader.use_fips(use_fips);
    }
    if let Some(use_dualstack) = aws.use_dualstack {
        loader = loader.use_dual_stack(use_dualstack);
    }
    // The word is one of the SDK's.
    if let Some(Ok(mode)) = aws.account_id_endpoint_mode.map(|mode| mode.word().parse()) {
        loader = loader.account_id_endpoint_mode(mode);
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    let mut config = loader.load().await;
    if let Some(profile) = aws.profile.as_ref().filter(|_| credentials.is_none()) {
        let settings = ProviderConfig::without_region()
            .with_region(config.region().cloned())
            .with_http_client(http.clone())
            .with_retry_config(retries)
            .with_timeout_config(timeouts)
            .with_use_fips(config.use_fips())
            .with_use_dual_stack(config.use_dual_stack());
        // Nobody else's credentials where this profile has none: it is a matter of as whom.
        let provider = ProfileFileCredentialsProvider::builder().configure(&settings);
        let provider = provider.profile_files(profile_files(aws)).profile_name(profile).build();
        config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build();
    }
    if aws.assume_role.is_some() {
        config = with_role(aws, config).await;
    }
    // No attempt of ours is invisible.
    config.into_builder().retry_config(RetryConfig::disabled()).build()
}

/// `config` with the credentials of the role, which its own serve to get.
async fn with_role(aws: &Aws, config: SdkConfig) -> SdkConfig {
    let (Some(role), Some(base)) = (&aws.assume_role, config.credentials_provider()) else { return config };
    let mut of_sts = config.to_builder();
    if let Some(url) = &aws.endpoints.sts {
        of_sts = of_sts.endpoint_url(url).use_fips(false).use_dual_stack(false);
    }
    let session_name = role.session_name.clone().unwrap_or_else(|| session_name(&crate::metadata::host_name()));
    let mut provider = AssumeRoleProvider::builder(&role.arn).configure(&of_sts.build()).session_name(session_name);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    let provider = provider.build_from_provider(base).await;
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

/// `kinetail-` and the name of the host, as far as it can stand in the name of a session.
fn session_name(host_name: &str) -> String {
    let name = format!("{}-{host_name}", env!("CARGO_PKG_NAME"));
    name.chars().map(|c| if is_of_session_name(c) { c } else { '-' }).take(SESSION_NAME_CHARS_MAX).collect()
}

/// The files of AWS profiles, and behind them, as one more, what only profiles can say: where the instance metadata service
/// is, and where the SDK finds STS when it looks for web identities and roles of profiles. Variables of the environment go
/// before both.
#[expect(deprecated, reason = "as above")]
fn profile_files(aws: &Aws) -> ProfileFiles {
    let files = ProfileFiles::builder().include_default_config_file(true).include_default_credentials_file(true);
    let name = aws.profile.clone().or_else(|| std::env::var("AWS_PROFILE").ok());
    match additional_profile(aws, name.as_deref()) {
        Some(contents) => files.with_contents(ProfileFileKind::Config, contents),
        None => files,
    }
    .build()
}

fn additional_profile(aws: &Aws, name: Option<&str>) -> Option<String> {
    let (sts, metadata) = (aws.endpoints.sts.as_ref(), aws.endpoints.ec2_metadata.as_ref());
    sts.or(metadata)?;
    let mut contents = match name {
        // A section "profile default" would hide one of the user's that is only "default".
        None | Some("" | "default") => "[default]\n".to_owned(),
        Some(name) => format!("[profile {name}]\n"),
    };
    if let Some(url) = metadata {
        contents.push_str(&format!("ec2_metadata_service_endpoint = {url}\n"));
    }
    if let Some(url) = sts {
        contents.push_str(&format!("services = kinetail\n[services kinetail]\nsts =\n  endpoint_url = {url}\n"));
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoints;

    #[test]
    fn a_session_is_named_after_the_host() {
        for (host, name) in [
            ("web-1.example.com", "kinetail-web-1.example.com"),
            ("büro 3", "kinetail-b-ro-3"),
            ("", "kinetail-"),
            (&"h".repeat(100), &format!("kinetail-{}", "h".repeat(64 - 9))),
        ] {
            assert_eq!(session_name(host), name);
        }
    }

    #[test]
    fn what_only_a_profile_can_say_is_said_in_the_one_that_is_used() {
        let endpoints = |sts: Option<&str>, ec2_metadata: Option<&str>| Aws {
            endpoints: Endpoints {
                sts: sts.map(str::to_owned),
                ec2_metadata: ec2_metadata.map(str::to_owned),
                ..Endpoints::default()
            },
            ..Aws::default()
        };
        assert_eq!(additional_profile(&Aws::default(), Some("a")), None);
        assert_eq!(
            additional_profile(&endpoints(None, Some("http://m")), None).as_deref(),
            Some("[default]\nec2_metadata_service_endpoint = http://m\n")
        );
        assert_eq!(
            additional_profile(&endpoints(Some("http://s"), None), Some("logs")).as_deref(),
            Some("[profile logs]\nservices = kinetail\n[services kinetail]\nsts =\n  endpoint_url = http://s\n")
        );
    }
}
