//! The activity log: entries, read access, integrity, export, analytics.

mod analytics;
mod export;
mod fixture;
mod integrity;
mod lists;

use baton_events::{Streams, relay};
use baton_proto::baton::{
    task::v1::TaskEvent,
    tenancy::v1::{
        ActivityLog, ListActivityLogsRequest, ListActivityLogsResponse, activity_service_client::ActivityServiceClient,
    },
};
use baton_runtime::{Origin, Secret};
use baton_store::{Db, Tenant};
use baton_tenancy::SPEC;
use baton_testkit::{Person, Team, TestContext, event, eventually};
use sqlx::migrate::Migrator;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use fixture::{Fixture, fill, origin};
