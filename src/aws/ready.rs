//! Requests that are ready: the SDK signs them, finds the way and the time for them and gives their errors a place, but neither
//! makes them of its own types nor reads their answers into such.
//!
//! It is done where the SDK looks for what makes a request and what reads its answer, which an interceptor of the one request may
//! replace; clients, and all their other requests, stay as they are. What is in a request and an answer is left to `sender`
//! and [`wire`](crate::wire).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{BeforeSerializationInterceptorContextMut, Error, Input, Output};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::ErrorMetadata;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

/// A request as it is sent, but for what the SDK adds.
#[derive(Clone, Debug)]
pub struct Request {
    /// The operation, as in `X-Amz-Target`.
    pub target: &'static str,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// An answer that has come to its end.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// It is none that is good.
    pub is_error: bool,
    /// The name of the error, where it is in the head.
    pub error_type: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What an answer is, where it is not one that says what became of the request.
#[derive(Debug)]
pub enum Unwell {
    /// An error of the service, by name.
    Error {
        /// Its name.
        code: String,
        /// Its sentence.
        message: Option<String>,
    },
    /// Nothing that the service says.
    Unreadable(Box<dyn StdError + Send + Sync>),
}

/// What reads an answer, into the type that the SDK has for it.
pub trait Read<O>: Fn(Answer<'_>) -> Result<O, Unwell> + Send + Sync + 'static {}

impl<O, R: Fn(Answer<'_>) -> Result<O, Unwell> + Send + Sync + 'static> Read<O> for R {}

/// What goes between the SDK and one request; to be given to `customize().interceptor(…)`.
pub struct Ready {
    request: Request,
    read: Arc<Reading>,
}

type Reading = dyn Fn(&HttpResponse) -> Result<Output, OrchestratorError<Error>> + Send + Sync;

impl Ready {
    /// `request`, the answer to which is read by `read`. `O` and `E` are what the SDK expects of the operation; `error` makes one
    /// of these.
    pub fn new<O, E>(request: Request, error: fn(ErrorMetadata) -> E, read: impl Read<O>) -> Self
    where
        O: fmt::Debug + Send + Sync + 'static,
        E: StdError + Send + Sync + 'static,
    {
        let read = move |response: &HttpResponse| {
            let answer = Answer {
                is_error: !response.status().is_success(),
                error_type: response.headers().get("x-amzn-errortype"),
                body: response.body().bytes().unwrap_or_default(),
            };
            match read(answer) {
                Ok(output) => Ok(Output::erase(output)),
                Err(Unwell::Error { code, message }) => {
                    let mut metadata = ErrorMetadata::builder().code(code);
                    if let Some(message) = message {
                        metadata = metadata.message(message);
                    }
                    Err(OrchestratorError::operation(Error::erase(error(metadata.build()))))
                }
                Err(Unwell::Unreadable(error)) => Err(OrchestratorError::other(error)),
            }
        };
        Self { request, read: Arc::new(read) }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready({})", self.request.target)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Ready {
    fn name(&self) -> &'static str {
        "Ready"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let state = config.interceptor_state();
        state.store_put(SharedRequestSerializer::new(Writer(self.request.clone())));
        state.store_put(SharedResponseDeserializer::new(Reader(Arc::clone(&self.read))));
        Ok(())
    }
}

#[derive(Debug)]
struct Writer(Request);

impl SerializeRequest for Writer {
    fn serialize_input(&self, _: Input, _: &mut ConfigBag) -> Result<HttpRequest, BoxError> {
        let Request { target, content_type, body } = self.0.clone();
        let request = http::Request::post("/")
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, body.len())
            .header("x-amz-target", target)
            .body(SdkBody::from(body))?;
        Ok(request.try_into()?)
    }
}

struct Reader(Arc<Reading>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl DeserializeResponse for Reader {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        (self.0)(response)
    }
}
