//! Logs, traces and metrics of a process.
//!
//! Logs are JSON lines on standard error, with the trace id. Traces and metrics are exported over OTLP if
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Metrics are also served for Prometheus at `/metrics`, on a separate port.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{Sampler, SdkTracerProvider},
};
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, JsonFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{Shutdown, propagation};

crate::config! {
    /// Destinations of logs, traces and metrics.
    pub struct TelemetryConfig {
        /// Log filter, in the syntax of tracing's EnvFilter.
        pub log: String = "BATON_LOG", default "info";
        /// Log lines as `json`, or as `text` for people.
        pub log_format: String = "BATON_LOG_FORMAT", default "json";
        /// OTLP gRPC endpoint for traces and metrics; none are exported when absent.
        pub otlp_endpoint: Option<url::Url> = "OTEL_EXPORTER_OTLP_ENDPOINT";
        /// Share of traces to keep, in percent. Decided where a trace begins and kept to everywhere.
        pub sample_percent: u32 = "BATON_TRACE_SAMPLE_PERCENT", default "100";
        /// Address to serve Prometheus metrics on; none are served when absent.
        pub metrics_listen: Option<SocketAddr> = "BATON_METRICS_LISTEN";
    }
}

/// Holds the exporters. [`Telemetry::flush`] exports the remaining data.
#[derive(Debug)]
pub struct Telemetry {
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    registry: prometheus::Registry,
    metrics_listen: Option<SocketAddr>,
}

/// Starts logs, traces and metrics of the process. `name` becomes `service.name`.
///
/// # Errors
/// If the log filter does not parse, or telemetry is already started in this process.
pub fn start(name: &'static str, config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
    let resource = Resource::builder().with_service_name(name).build();
    let registry = prometheus::Registry::new();
    let prometheus = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let mut meter = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(prometheus);
    let share = f64::from(config.sample_percent.min(100)) / 100.0;
    // Also without an exporter: logs and problem responses contain trace ids, and other services receive them.
    let mut tracer = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))));
    if let Some(endpoint) = &config.otlp_endpoint {
        let metrics =
            opentelemetry_otlp::MetricExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
        meter = meter.with_periodic_exporter(metrics);
        let spans =
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
        tracer = tracer.with_batch_exporter(spans);
    }
    let (tracer, meter) = (tracer.build(), meter.build());
    global::set_meter_provider(meter.clone());

    let filter =
        EnvFilter::try_new(&config.log).context("BATON_LOG must be a log filter such as `info,baton_task=debug`")?;
    let logs = if config.log_format == "text" {
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .fmt_fields(JsonFields::new())
            .event_format(WithTraceId(Format::default().json().flatten_event(true).with_span_list(false)))
            .boxed()
    };
    // Only our own spans: those of the HTTP/2 stack are many and not useful.
    let ours = Targets::new().with_target("baton", LevelFilter::INFO);
    let traces = tracing_opentelemetry::layer().with_tracer(tracer.tracer("baton")).with_filter(ours);
    tracing_subscriber::registry().with(traces).with(logs.with_filter(filter)).try_init()?;
    Ok(Telemetry { tracer, meter, registry, metrics_listen: config.metrics_listen })
}

impl Telemetry {
    /// Serves `/metrics` in the background, if an address is configured.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn serve_metrics(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let Some(address) = self.metrics_listen else { return Ok(()) };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} for metrics; set BATON_METRICS_LISTEN to a free address")
        })?;
        let registry = self.registry.clone();
        let metrics = axum::routing::get(move || {
            let registry = registry.clone();
            async move { render(&registry) }
        });
        let stop = shutdown.stop().clone();
        tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().route("/metrics", metrics))
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
        });
        Ok(())
    }

    /// Exports the remaining data. Takes at most a few seconds.
    pub async fn flush(self) {
        // The providers block while they export.
        let flushed = tokio::task::spawn_blocking(move || {
            let _ = self.tracer.shutdown_with_timeout(Duration::from_secs(3));
            let _ = self.meter.shutdown_with_timeout(Duration::from_secs(3));
        });
        let _ = flushed.await;
    }
}

fn render(registry: &prometheus::Registry) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to memory cannot fail; a family that does not encode is omitted.
    let _ = TextEncoder::new().encode(&registry.gather(), &mut text);
    text
}

/// JSON log lines with the id of their trace.
struct WithTraceId(Format<Json>);

impl<S, N> FormatEvent<S, N> for WithTraceId
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        // The formatter ends an object with `}` and a newline.
        match (propagation::current_trace_id(), line.trim_end().strip_suffix('}')) {
            (Some(id), Some(object)) => writeln!(writer, "{object},\"trace_id\":\"{id}\"}}"),
            _ => writer.write_str(&line),
        }
    }
}
