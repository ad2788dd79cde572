use std::io::ErrorKind;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::outcome::Verdict;

type Error = SdkError<io::Error, HttpResponse>;

fn io_error(kind: ErrorKind) -> io::Error {
    io::Error::from(kind)
}

/// As it comes from the SDK.
fn connecting(error: ConnectError) -> Error {
    SdkError::dispatch_failure(ConnectorError::io(io::Error::other(error).into()))
}

fn lost() -> Error {
    SdkError::dispatch_failure(ConnectorError::io(io_error(ErrorKind::ConnectionReset).into()))
}

#[track_caller]
fn check(error: &Error, sent: Sent, verdict: Verdict, text: &str) {
    let failure = failure(error, sent, "Kinesis in x");
    assert_eq!((failure.to_string().as_str(), failure.verdict), (text, verdict));
}

#[test]
fn nothing_was_sent_where_there_was_no_connection() {
    use ConnectError as E;
    use Verdict::{Pause, Retry};
    let unknown = || io::Error::other("kinesis.invalid: not known");
    let issuer =
        || io::Error::new(ErrorKind::InvalidData, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
    let of_proxy = |error| E::OfProxy("http://proxy:3128/".to_owned(), Box::new(error));
    let refused = "(check `proxy` and `no_proxy` in [aws], or HTTPS_PROXY, and what the proxy allows)";
    let check_proxy = "(check `proxy` in [aws], or HTTPS_PROXY)";
    for (error, verdict, text) in [
        (
            E::Dns(unknown()),
            Retry,
            "Dns: Kinesis in x: the name cannot be resolved: kinesis.invalid: not known (check the name, `region` and the \
             resolver of this host)"
                .to_owned(),
        ),
        (
            E::Tcp(io_error(ErrorKind::ConnectionRefused).into()),
            Retry,
            "Connection: Kinesis in x: no connection: connection refused".to_owned(),
        ),
        (
            E::TimedOut(std::time::Duration::from_secs(5)),
            Retry,
            "ConnectTimeout: Kinesis in x: no connection within 5s".to_owned(),
        ),
        (
            E::Certificate(issuer()),
            Pause,
            "Certificate: Kinesis in x: the certificate is not trusted: invalid peer certificate: UnknownIssuer (if a proxy or a \
             private authority has signed it, set `ca_file` in [aws])"
                .to_owned(),
        ),
        (
            E::Tls(io_error(ErrorKind::UnexpectedEof)),
            Retry,
            "Tls: Kinesis in x: TLS has failed: unexpected end of file".to_owned(),
        ),
        (
            E::ProxyAuth(407),
            Pause,
            "ProxyAuth: Kinesis in x: the proxy wants another name and password (status 407) (write name and password in \
             `proxy`: http://name:password@host:port)"
                .to_owned(),
        ),
        (
            E::ProxyStatus(403),
            Pause,
            format!("ProxyRefused: Kinesis in x: the proxy refuses the connection (status 403) {refused}"),
        ),
        (
            E::ProxyStatus(503),
            Retry,
            format!("Proxy: Kinesis in x: the proxy refuses the connection (status 503) {check_proxy}"),
        ),
        (
            E::ProxyScheme("socks5".to_owned()),
            Pause,
            format!("ProxyRefused: Kinesis in x: a socks5 proxy cannot be used, only one of http or https {refused}"),
        ),
        (
            of_proxy(E::Dns(unknown())),
            Retry,
            format!(
                "Proxy: Kinesis in x: the proxy http://proxy:3128/ cannot be reached: the name cannot be resolved: \
                 kinesis.invalid: not known {check_proxy}"
            ),
        ),
        (
            of_proxy(E::Certificate(issuer())),
            Pause,
            "Certificate: Kinesis in x: the proxy http://proxy:3128/ cannot be reached: the certificate is not trusted: \
             invalid peer certificate: UnknownIssuer (if a proxy or a private authority has signed it, set `ca_file` in [aws])"
                .to_owned(),
        ),
    ] {
        check(&connecting(error), Sent::Nothing, verdict, &text);
    }
}

/// Doubling is possible only where all of a request may have arrived.
#[test]
fn what_was_sent_decides_what_may_be_there() {
    let lost_text = "ConnectionLost: Kinesis in x: dispatch failure: io error: connection reset";
    let timeout = Error::timeout_error(io_error(ErrorKind::TimedOut));
    let timeout_text = "Timeout: Kinesis in x: request has timed out";
    for (sent, verdict, what) in [
        (Sent::Nothing, Verdict::Retry, "nothing was sent"),
        (Sent::Partly, Verdict::Retry, "only a part was sent"),
        (Sent::Perhaps, Verdict::Uncertain, "it may have arrived"),
    ] {
        check(&lost(), sent, verdict, &format!("{lost_text}; {what}"));
        check(&timeout, sent, verdict, &format!("{timeout_text}; {what}"));
    }
}

#[test]
fn without_credentials_a_person_is_asked() {
    let none = CredentialsError::not_loaded("no providers in chain provided credentials");
    let error = Error::dispatch_failure(ConnectorError::other(none.into(), None));
    check(
        &error,
        Sent::Nothing,
        Verdict::Pause,
        "Credentials: the credential provider was not enabled: no providers in chain provided credentials (set \
         them by environment, profile, or the role of the instance or container)",
    );
}

#[test]
fn what_is_no_answer_of_the_service_is_judged_by_its_status() {
    for (status, verdict, code) in [
        (407, Verdict::Pause, "ProxyAuth"),
        (403, Verdict::Pause, "Http403"),
        (413, Verdict::Split, "Http413"),
        (502, Verdict::Uncertain, "Http502"),
        (200, Verdict::Uncertain, "Http200"),
    ] {
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        let failure = failure(&Error::response_error("no JSON", response), Sent::Perhaps, "Kinesis in x");
        assert_eq!((failure.verdict, failure.code.as_str()), (verdict, code));
    }
}
