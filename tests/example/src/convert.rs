//! Conversions between the rule and the contract.

use baton_catalog::Payload;
use baton_proto::{baton::example::v1 as proto, convert::timestamp};
use baton_store::Event;
use uuid::Uuid;

use crate::greeting::Greeting;

impl From<Greeting> for proto::Greeting {
    fn from(greeting: Greeting) -> Self {
        Self {
            id: greeting.id.to_string(),
            user_id: greeting.user_id.to_string(),
            created_at: Some(timestamp(greeting.created_at)),
        }
    }
}

/// The event out.
pub(crate) fn greeting_created(account_id: Uuid, greeting: &Greeting) -> Event {
    let payload = proto::GreetingEvent { greeting_id: greeting.id.to_string(), user_id: greeting.user_id.to_string() };
    Event::new(Payload::GreetingCreated(payload), account_id, greeting.id)
}
