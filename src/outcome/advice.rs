//! What a person can do about a failure.

use super::{Failure, Operation, Service};

/// About a request in CBOR, when no other format may be used.
pub(super) const OF_CBOR: &str = "the service may not know CBOR: set `wire` = \"auto\" or \"json\" in [aws]";

/// About what the service has answered.
pub(super) fn of_service(operation: Operation, code: &str, message: &str) -> Option<String> {
    let (stream, setting) = match operation.service() {
        Service::Kinesis => ("stream", "stream"),
        Service::Firehose => ("delivery stream", "delivery_stream"),
    };
    Some(match code {
        "ResourceNotFoundException" => format!("check `{setting}` and `region`, or create the {stream}"),
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "KMSAccessDeniedException" => {
            let permission = operation.permission();
            match message {
                _ if message.contains("endpoint policy") => format!("the policy of the VPC endpoint has to allow {permission}"),
                _ if message.contains("kms:") || code.starts_with("KMS") => {
                    let permission = if operation == Operation::GetRecords { "kms:Decrypt" } else { "kms:GenerateDataKey" };
                    format!("the credentials need {permission} on the key of the {stream}")
                }
                _ => format!("the credentials need {permission} on the {stream}"),
            }
        }
        _ if code.starts_with("KMS") || code == "InvalidKMSResourceException" => {
            format!("check the KMS key of the {stream}: that it is enabled, and its policy")
        }
        "InvalidSourceException" => "the source of the delivery stream must be Direct PUT".to_owned(),
        "ExpiredTokenException" | "ExpiredToken" => {
            "they are fetched anew; if that does not help, renew the credentials where they come from".to_owned()
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "InvalidAccessKeyId" => {
            "the access key is not known there: check the credentials and `region`".to_owned()
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" | "AuthFailure" => {
            "check the credentials, and the clock of this host".to_owned()
        }
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" | "IncompleteSignature" => {
            "something on the way changes requests: is there a proxy in between?".to_owned()
        }
        "OptInRequired" | "SubscriptionRequiredException" => "the account has no subscription for the service".to_owned(),
        "UnknownOperationException" | "InvalidAction" => "another service answers there: check `endpoints` in [aws]".to_owned(),
        _ => return None,
    })
}

/// About what went wrong on this side.
pub(super) fn of_client(code: &str) -> Option<&'static str> {
    Some(match code {
        Failure::DNS => "check the name, `region` and the resolver of this host",
        Failure::CERTIFICATE => "if a proxy or a private authority has signed it, set `ca_file` in [aws]",
        Failure::PROXY_REFUSED => "check `proxy` and `no_proxy` in [aws], or HTTPS_PROXY, and what the proxy allows",
        Failure::PROXY => "check `proxy` in [aws], or HTTPS_PROXY",
        Failure::PROXY_AUTH => "write name and password in `proxy`: http://name:password@host:port",
        Failure::CA_FILE => "check `ca_file` in [aws]: a PEM file of certificates",
        Failure::CREDENTIALS => "set them by environment, profile, or the role of the instance or container",
        Failure::REGION => "set `region` in [aws], or AWS_REGION",
        _ => return None,
    })
}
