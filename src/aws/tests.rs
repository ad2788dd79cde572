use std::time::Duration;

use super::*;
use crate::config::Endpoints;
use crate::outcome;

fn settings() -> Aws {
    Aws { region: Some("eu-west-1".to_owned()), ..Aws::default() }
}

fn kinesis_at(url: &str) -> Aws {
    Aws { endpoints: Endpoints { kinesis: Some(url.to_owned()), ..Endpoints::default() }, ..Aws::default() }
}

fn refused(code: &str) -> Failure {
    Failure { verdict: outcome::of_request(outcome::Service::Kinesis, code, 400), code: code.to_owned(), message: String::new() }
}

#[test]
fn flows_that_say_the_same_share_their_access() {
    let accesses = Accesses::default();
    let first = accesses.of(&settings());
    assert_eq!(*first.settings(), settings());
    assert!(Arc::ptr_eq(&first, &accesses.of(&Aws::default().over(&settings()))), "what [aws] says, said again");
    let other = accesses.of(&kinesis_at("http://a"));
    assert!(!Arc::ptr_eq(&first, &other));
    assert!(Arc::ptr_eq(&other, &accesses.of(&kinesis_at("http://a"))));
}

#[tokio::test]
async fn each_service_has_its_endpoint() {
    let aws = Aws { use_fips: Some(true), ..kinesis_at("http://kinesis") };
    let access = Access::new(aws.over(&settings()), None);
    let kinesis = access.config(Service::Kinesis).await.unwrap();
    assert_eq!((kinesis.endpoint_url(), kinesis.use_fips()), (Some("http://kinesis"), Some(false)));
    let firehose = access.config(Service::Firehose).await.unwrap();
    assert_eq!((firehose.endpoint_url(), firehose.use_fips()), (None, Some(true)));
    assert_eq!(firehose.region().map(AsRef::as_ref), Some("eu-west-1"));
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_loaded_anew_once_in_a_while() {
    let access = Arc::new(Access::new(settings(), None));
    let client = Client::new(Arc::clone(&access), Service::Kinesis, |_| ());
    let other = Client::new(access, Service::Kms, |_| ());
    let (first, of_other) = (client.get().await.unwrap(), other.get().await.unwrap());
    assert_eq!((&*first.place, &*of_other.place), ("Kinesis in eu-west-1", "KMS in eu-west-1"));

    assert_eq!(client.renew(&first, refused("AccessDeniedException")).verdict, Verdict::Pause);
    assert_eq!(client.get().await.unwrap().generation, first.generation);

    assert_eq!(client.renew(&first, refused("ExpiredTokenException")).verdict, Verdict::Retry);
    let second = client.get().await.unwrap();
    assert_ne!(second.generation, first.generation);
    // Requests that were on their way have been refused too, with the same credentials, by other services as well.
    assert_eq!(client.renew(&first, refused("ExpiredTokenException")).verdict, Verdict::Retry);
    assert_eq!(other.renew(&of_other, refused("UnrecognizedClientException")).verdict, Verdict::Retry);
    assert_eq!(other.get().await.unwrap().generation, second.generation);

    // The new ones are no better: that is told, and they are tried for a while.
    tokio::time::advance(RENEWAL_INTERVAL - Duration::from_millis(1)).await;
    assert_eq!(client.renew(&second, refused("ExpiredTokenException")).verdict, Verdict::Pause);
    assert_eq!(client.get().await.unwrap().generation, second.generation);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(client.renew(&second, refused("ExpiredTokenException")).verdict, Verdict::Retry);
    assert_ne!(client.get().await.unwrap().generation, second.generation);
}

#[tokio::test]
async fn credentials_that_are_given_are_not_looked_for() {
    let given = Credentials::new("AKID", "secret", None, None, "test");
    let access = Arc::new(Access::new(settings(), Some(given)));
    let client = Client::new(access, Service::Kinesis, SdkConfig::clone);
    let made = client.get().await.unwrap();
    assert_eq!(client.renew(&made, refused("ExpiredTokenException")).verdict, Verdict::Pause);
    let provider = made.client.credentials_provider().unwrap();
    let credentials = aws_credential_types::provider::ProvideCredentials::provide_credentials(&provider).await.unwrap();
    assert_eq!(credentials.access_key_id(), "AKID");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let access = || Access::new(Aws { ca_file: Some(path.clone()), ..settings() }, None);
    let refused = access();
    for (content, reason) in [
        (None, "No such file or directory"),
        (Some(""), "there is no certificate in it"),
        (Some("no certificate"), "there is no certificate in it"),
        (Some("-----BEGIN CERTIFICATE-----\n####\n-----END CERTIFICATE-----\n"), "it is not a PEM file"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate 1 cannot be used"),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let failure = refused.config(Service::Kinesis).await.unwrap_err();
        assert_eq!((failure.verdict, failure.code.as_str()), (Verdict::Pause, Failure::CA_FILE));
        let expected = format!("cannot use the certificates of {}: {reason}", path.display());
        assert!(failure.message.starts_with(&expected), "{failure}");
    }
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&path, key.cert.pem()).unwrap();
    assert!(refused.config(Service::Kinesis).await.is_ok(), "a file that is mended is read");
}
