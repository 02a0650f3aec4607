//! W3C Trace Context across gRPC, HTTP and events.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The name of the header, and of the envelope's field.
pub const TRACEPARENT: &str = "traceparent";

/// Makes `span` a child of the span in the headers, if there is one.
pub fn continue_from_headers(span: &Span, headers: &HeaderMap) {
    continue_from(span, &HeaderExtractor(headers));
}

/// Makes `span` a child of the span in `traceparent`, if it is valid.
pub fn continue_from_traceparent(span: &Span, traceparent: &str) {
    continue_from(span, &TraceparentExtractor(traceparent));
}

fn continue_from(span: &Span, carrier: &dyn Extractor) {
    let parent = TraceContextPropagator::new().extract(carrier);
    if parent.span().span_context().is_valid() {
        // Fails only without an exporter, and then there is no trace to continue.
        let _ = span.set_parent(parent);
    }
}

/// Adds the current span to the metadata of an outgoing call.
pub fn inject(metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut MetadataInjector(metadata));
}

/// Adds the current span to the headers of an outgoing call.
pub fn inject_headers(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut HeaderInjector(headers));
}

/// The current span as a `traceparent`; empty without a trace.
pub fn current_traceparent() -> String {
    let mut value = Value(String::new());
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut value);
    value.0
}

/// The id of the current trace, in hexadecimal; `None` without a trace.
pub fn current_trace_id() -> Option<String> {
    trace_id(&Span::current().context())
}

fn trace_id(context: &Context) -> Option<String> {
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

struct HeaderExtractor<'a>(&'a HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct TraceparentExtractor<'a>(&'a str);

impl Extractor for TraceparentExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct MetadataInjector<'a>(&'a mut MetadataMap);

impl Injector for MetadataInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct HeaderInjector<'a>(&'a mut HeaderMap);

impl Injector for HeaderInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (http::HeaderName::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct Value(String);

impl Injector for Value {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = value;
        }
    }
}
