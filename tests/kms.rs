//! What is asked of KMS for a data key, and what is told of answers that are none.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kinetail::config::Endpoints;
use kinetail::encryption::keys::{KeyFailure, KeySource as _};
use kinetail::encryption::kms::Kms;
use kinetail::encryption::message::{Context, DataKey};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use common::wire::access;

const ALIAS: &str = "arn:aws:kms:us-east-1:111122223333:alias/logs";
const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The key behind the alias, of the KMS at `url`.
fn kms(url: &str, context: Context) -> Kms {
    Kms::new(ALIAS.to_owned(), context, access(Endpoints { kms: Some(url.to_owned()), ..Endpoints::default() }))
}

/// One attempt at a service that answers everything with `status` and `answer`; and what it was asked.
fn attempt(status: u16, answer: &str, context: &[(&str, &str)]) -> (Result<DataKey, KeyFailure>, Value) {
    let (answer, asked) = (answer.to_owned(), Arc::new(Mutex::new(Value::Null)));
    let of_service = Arc::clone(&asked);
    let serve = post(move |body: String| async move {
        *of_service.lock().unwrap() = serde_json::from_str(&body).unwrap();
        (StatusCode::from_u16(status).unwrap(), answer)
    });
    let context: Context = context.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kms = kms(&url, context);
    let key = Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(async { axum::serve(listener, Router::new().route("/", serve)).await.unwrap() });
        kms.generate().await
    });
    let asked = asked.lock().unwrap().clone();
    let nameless = |failure: KeyFailure| KeyFailure { message: failure.message.replace(&url, "URL"), ..failure };
    (key.map_err(nameless), asked)
}

fn answer(key_byte_count: usize, encrypted: &[u8], key_id: &str) -> String {
    let (key, encrypted) = (BASE64.encode(vec![7; key_byte_count]), BASE64.encode(encrypted));
    json!({ "Plaintext": key, "CiphertextBlob": encrypted, "KeyId": key_id }).to_string()
}

#[test]
fn a_data_key_is_asked_for_with_the_context_and_named_by_the_key_behind_the_alias() {
    let (key, asked) = attempt(200, &answer(32, b"encrypted", KEY), &[("app", "x"), ("stream", "s")]);
    assert_eq!(key.unwrap().key_arn(), KEY);
    let context = json!({ "app": "x", "stream": "s" });
    assert_eq!(asked, json!({ "KeyId": ALIAS, "KeySpec": "AES_256", "EncryptionContext": context }));

    let (key, asked) = attempt(200, &answer(32, b"encrypted", KEY), &[]);
    assert!(key.is_ok());
    assert_eq!(asked, json!({ "KeyId": ALIAS, "KeySpec": "AES_256" }));
}

#[test]
fn each_failure_says_what_is_wrong_with_which_key() {
    let error = |code: &str, message: &str| json!({ "__type": code, "message": message }).to_string();
    let long = "x".repeat(10_000);
    for (status, answer, told) in [
        (
            400,
            error("AccessDeniedException", "not authorized"),
            format!("AccessDeniedException: {ALIAS}: not authorized (the credentials need kms:GenerateDataKey on the key)"),
        ),
        (
            400,
            error("NotFoundException", "Alias not found"),
            format!("NotFoundException: {ALIAS}: Alias not found (check `kms_key` in [flow.encryption])"),
        ),
        (400, error("DisabledException", "is disabled"), format!("DisabledException: {ALIAS}: is disabled (enable the key)")),
        (400, error("ThrottlingException", "too fast"), format!("ThrottlingException: {ALIAS}: too fast")),
        (500, error("KMSInternalException", &long), format!("KMSInternalException: {ALIAS}: {} …", &long[..500])),
        (
            502,
            "<html>bad gateway</html>".to_owned(),
            format!("Http502: {ALIAS}: URL: HTTP status 502, and not an answer of the service; is there a proxy in between?"),
        ),
        (
            200,
            "<html>welcome</html>".to_owned(),
            format!("Http200: {ALIAS}: URL: HTTP status 200, and not an answer of the service; is there a proxy in between?"),
        ),
        (200, answer(16, b"encrypted", KEY), format!("Answer: {ALIAS}: KMS returned a data key of 16 bytes")),
        (200, answer(32, b"", KEY), format!("Answer: {ALIAS}: KMS returned no encrypted data key")),
        (200, answer(32, b"encrypted", "1234"), format!("Answer: {ALIAS}: KMS did not return the ARN of the key")),
        (200, answer(32, &[0; 1025], KEY), format!("Answer: {ALIAS}: the encrypted data key has 1025 bytes, more than 1024")),
        (200, "{}".to_owned(), format!("Answer: {ALIAS}: KMS returned a data key of 0 bytes")),
    ] {
        assert_eq!(attempt(status, &answer, &[]).0.unwrap_err().to_string(), told);
    }
}

#[test]
fn a_service_that_is_not_there_is_told_as_that() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let kms = kms(&format!("http://{nobody}"), Context::new());
    let told = Runtime::new().unwrap().block_on(kms.generate()).unwrap_err().to_string();
    assert!(told.starts_with(&format!("Connection: {ALIAS}: ")), "{told}");
}
