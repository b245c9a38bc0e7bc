//! The connection to a store: client, credentials and region.

use std::{
    collections::BTreeMap,
    env, fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, SdkConfig, default_provider::credentials::DefaultCredentialsChain,
    environment::EnvironmentVariableRegionProvider, imds, meta::region::RegionProviderChain,
    profile::ProfileFileRegionProvider, provider_config::ProviderConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, Credentials, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedCredentialsProvider, SharedHttpClient,
    },
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

use crate::domain::s3::S3Settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time-out for credentials from any source.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);
/// The time-out for the instance's metadata, which nothing answers outside AWS.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// The region that stores other than AWS assume.
const DEFAULT_REGION: &str = "us-east-1";

/// Credentials for tests, by endpoint: the tests of a process share its environment.
static TEST_CREDENTIALS: Mutex<BTreeMap<String, (String, String)>> = Mutex::new(BTreeMap::new());

/// Makes this process use these credentials for the store at `endpoint`. For tests, which cannot set variables while others run
/// concurrently.
#[doc(hidden)]
pub fn set_test_credentials(endpoint: &str, access_key: &str, secret_key: &str) {
    let mut test_credentials = TEST_CREDENTIALS.lock().unwrap_or_else(PoisonError::into_inner);
    test_credentials.insert(endpoint.to_owned(), (access_key.to_owned(), secret_key.to_owned()));
}

/// A client, with what is known of its store.
pub struct Connection {
    /// The SDK's client. It does not retry.
    pub client: Client,
    /// The store's address, if it is not AWS.
    pub endpoint: Option<String>,
    /// Whether the store accepts checksums such as SHA-256 in headers. Other stores get an MD5.
    pub checksums: bool,
    /// The region for which requests are signed.
    pub region: String,
    /// Whether the region is a default that nobody set.
    pub(super) region_guessed: bool,
    /// The profile whose credentials are used.
    pub(super) profile: Option<String>,
}

impl Connection {
    /// Determines what the settings leave open. `learned` is the region that the store named.
    pub(super) async fn open(settings: &S3Settings, checksums: Option<bool>, learned: Option<&str>) -> Self {
        let endpoint = settings.endpoint_url.clone().or_else(endpoint_of_environment);
        let config = load(settings, endpoint.as_deref(), client(TrustStore::default())).await;
        let endpoint = endpoint.or_else(|| config.endpoint_url().map(str::to_owned));
        let named = config.region().map(ToString::to_string);
        let region = learned.map(str::to_owned).or_else(|| named.clone()).unwrap_or_else(|| DEFAULT_REGION.to_owned());
        // Not all stores other than AWS accept the newer checksums, so the SDK's default is not used for them.
        let said = |name| variable(name).is_some_and(|said| said.eq_ignore_ascii_case("when_supported"));
        let checksums = checksums.unwrap_or_else(|| match endpoint {
            Some(_) => said("AWS_REQUEST_CHECKSUM_CALCULATION"),
            None => config.request_checksum_calculation() != Some(RequestChecksumCalculation::WhenRequired),
        });
        let mut builder = Builder::from(&config)
            .region(Region::new(region.clone()))
            .force_path_style(settings.path_style.unwrap_or(endpoint.is_some()));
        if let Some(endpoint) = &endpoint {
            // The SDK puts the bucket right behind the endpoint's path.
            builder = builder.endpoint_url(format!("{}/", endpoint.trim_end_matches('/')));
            if endpoint.starts_with("http://") {
                // A machine without CA certificates can still use http.
                builder = builder.http_client(client(TrustStore::empty()));
            }
        }
        if !checksums {
            builder = builder.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        }
        if endpoint.is_some() && !said("AWS_RESPONSE_CHECKSUM_VALIDATION") {
            builder = builder.response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        let region_guessed = named.is_none() && learned.is_none();
        let profile = settings.profile.clone().or_else(|| variable("AWS_PROFILE"));
        Self { client: Client::from_conf(builder.build()), endpoint, checksums, region, region_guessed, profile }
    }

    /// The store's name in messages.
    pub(super) fn store(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("AWS ({})", self.region))
    }

    /// Where credentials are looked for.
    pub(super) fn places(&self) -> String {
        let profile = self.profile.as_deref().unwrap_or("default");
        format!(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile `{profile}` in ~/.aws/config and ~/.aws/credentials, \
             web identity, the container's and the instance's metadata"
        )
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("store", &self.store()).finish_non_exhaustive()
    }
}

fn client(trusted: TrustStore) -> SharedHttpClient {
    let context = TlsContext::builder().with_trust_store(trusted).build();
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context.expect("a context of rustls has no faults"))
        .build_https()
}

/// What AWS's variables and files add to the settings.
async fn load(settings: &S3Settings, endpoint: Option<&str>, http: SharedHttpClient) -> SdkConfig {
    let provider = ProviderConfig::without_region()
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_http_client(http.clone());
    let metadata = || {
        imds::Client::builder()
            .configure(&provider)
            .max_attempts(1)
            .connect_timeout(METADATA_TIMEOUT)
            .read_timeout(METADATA_TIMEOUT)
            .operation_timeout(METADATA_TIMEOUT)
            .build()
    };
    let mut of_profile = ProfileFileRegionProvider::builder().configure(&provider);
    if let Some(profile) = &settings.profile {
        of_profile = of_profile.profile_name(profile);
    }
    let mut regions = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(of_profile.build());
    if endpoint.is_none() {
        regions = regions.or_else(imds::region::ImdsRegionProvider::builder().imds_client(metadata()).build());
    }
    let region = regions.region().await;
    let credentials = match endpoint.and_then(test_credentials) {
        Some(credentials) => SharedCredentialsProvider::new(credentials),
        None => {
            let mut chain = DefaultCredentialsChain::builder()
                .configure(provider.clone())
                .imds_client(metadata())
                .region(region.clone());
            if let Some(profile) = &settings.profile {
                chain = chain.profile_name(profile);
            }
            SharedCredentialsProvider::new(chain.build().await)
        }
    };
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        // Stalled streams are detected where the bytes are read and written, with the time-outs of each.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build())
        .region(region)
        .credentials_provider(credentials);
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

fn test_credentials(endpoint: &str) -> Option<Credentials> {
    let test_credentials = TEST_CREDENTIALS.lock().unwrap_or_else(PoisonError::into_inner);
    let (access_key, secret_key) = test_credentials.get(endpoint)?;
    Some(Credentials::new(access_key, secret_key, None, None, "lent"))
}

/// The endpoint from the environment. The SDK reads it too, but does not say whether it found one.
fn endpoint_of_environment() -> Option<String> {
    if variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|said| said.eq_ignore_ascii_case("true")) {
        return None;
    }
    variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
