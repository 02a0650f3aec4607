//! The per-test fixture: the service, and a caller that is another service.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_clients::{Peer, ServiceTokens};
use baton_privacy::{Config, SPEC, start};
use baton_proto::baton::privacy::v1::anonymization_service_client::AnonymizationServiceClient;
use baton_runtime::{Clock, Secret};
use baton_testkit::TestContext;
use tonic::{Request, transport::Channel};
use url::Url;

pub(crate) struct Fixture {
    /// Ends the services when it is dropped.
    _context: TestContext,
    pub(crate) client: AnonymizationServiceClient<Channel>,
    tokens: ServiceTokens,
    pub(crate) folder: tempfile::TempDir,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let context = TestContext::start(&[SPEC.schema()]).await;
        let folder = tempfile::tempdir().unwrap();
        let mut env = context.env();
        for (variable, name) in [("BATON_PRIVACY_EXPORTS_URL", "exports"), ("BATON_VAULT_URL", "vault")] {
            env.set(variable, Url::from_file_path(folder.path().join(name)).unwrap());
        }
        let variables = [
            ("BATON_PRIVACY_SIGNING_KEY", STANDARD.encode([21; 32])),
            ("BATON_PRIVACY_RECEIPT_KEYS", STANDARD.encode([22; 32])),
            ("BATON_PRIVACY_PSEUDONYM_KEY", STANDARD.encode([23; 32])),
            ("BATON_PRIVACY_CHECKPOINT_KEYS", STANDARD.encode([25; 32])),
            ("BATON_VAULT_KEYS", format!("1:{}", STANDARD.encode([24; 32]))),
            ("BATON_PRIVACY_PUBLIC_URL", "http://gateway.test".to_owned()),
            // Services that no test of this crate calls.
            ("BATON_TASK_URL", "http://127.0.0.1:9".to_owned()),
            ("BATON_NOTIFICATION_URL", "http://127.0.0.1:9".to_owned()),
            ("BATON_AUTOMATION_URL", "http://127.0.0.1:9".to_owned()),
        ];
        for (name, value) in variables {
            env.set(name, value);
        }
        let channel = context
            .spawn(|listener, shutdown| {
                start(Config::from_env(&SPEC, &env).unwrap(), Clock::system(), listener, shutdown)
            })
            .await;
        let secret = Secret::new(env.get("BATON_PRIVACY_SERVICE_SECRET").unwrap());
        let auth = Peer::connect("auth", &env.get("BATON_AUTH_URL").unwrap().parse().unwrap()).unwrap();
        let tokens = ServiceTokens::new(auth, "privacy", secret);
        Self { client: AnonymizationServiceClient::new(channel), _context: context, tokens, folder }
    }

    /// A request of another service.
    pub(crate) async fn as_service<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.tokens.authorization("privacy").await.unwrap());
        request
    }
}
