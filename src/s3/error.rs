//! The meaning of a store's responses.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::Connection;
use crate::{domain::s3::S3Address, io_fault::shortage};

/// The reason for a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum S3Kind {
    /// No credentials were found.
    NoCredentials,
    /// The store rejects the credentials, or they have expired and were not renewed.
    BadCredentials,
    /// The credentials lack the permission.
    Denied,
    /// The bucket does not exist.
    NoBucket,
    /// The object does not exist.
    NoKey,
    /// The object is in an archive, and would have to be restored first.
    Archived,
    /// The object has changed.
    Changed,
    /// The object ends before the requested range.
    PastEnd,
    /// The store can never accept this object: its key or its size is invalid.
    BadName,
    /// The bucket is in another region.
    WrongRegion,
    /// The store's request limit is reached.
    Throttled,
    /// The store cannot be reached, or has an internal failure.
    Unavailable,
    /// The store did not answer in time.
    TimedOut,
    /// This machine is out of open files, memory or ports, so the request was not sent.
    LocalOutage,
    /// The received bytes differ from the sent ones.
    Checksum,
    /// The store refuses for another reason, for which no line is to blame.
    Other,
}

impl S3Kind {
    /// Whether trying again may help.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::TimedOut | Self::Checksum | Self::LocalOutage)
    }

    /// Whether the cause is the caller's identity, not the requested object.
    #[must_use]
    pub const fn is_of_credentials(self) -> bool {
        matches!(self, Self::NoCredentials | Self::BadCredentials)
    }
}

/// Why a store operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {address}: {detail}")]
pub struct S3Error {
    /// `list`, `read`, `write`, …
    pub action: &'static str,
    /// The address of the object or prefix.
    pub address: String,
    /// The reason.
    pub kind: S3Kind,
    /// The details as text; never a secret.
    pub detail: String,
}

impl S3Error {
    pub(super) fn new(action: &'static str, at: &S3Address, failure: S3Failure, connection: &Connection) -> Self {
        let (store, bucket, said) = (connection.store(), &at.bucket, failure.detail);
        let detail = match failure.kind {
            S3Kind::NoCredentials => {
                let why = if said.is_empty() { said } else { format!(" ({said})") };
                format!("no credentials were found{why}; looked in {}", connection.places())
            }
            S3Kind::BadCredentials => {
                format!(
                    "{store} does not accept the credentials ({said}); they come from the first of {}",
                    connection.places()
                )
            }
            S3Kind::Denied => format!("{store} does not allow it in bucket `{bucket}` ({said})"),
            S3Kind::NoBucket => format!("there is no bucket `{bucket}` at {store}"),
            S3Kind::WrongRegion => match failure.region {
                Some(region) => format!(
                    "bucket `{bucket}` is in region {region}, not {}; set region = \"{region}\"",
                    connection.region
                ),
                None => format!(
                    "bucket `{bucket}` is not in region {}; set region, or AWS_REGION ({said})",
                    connection.region
                ),
            },
            S3Kind::Throttled | S3Kind::Unavailable | S3Kind::TimedOut => format!("{store} is not available ({said})"),
            _ => said,
        };
        Self { action, address: at.to_string(), kind: failure.kind, detail }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        self.kind.is_passing()
    }

    /// What a user can do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self.kind {
            S3Kind::NoCredentials => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile",
            S3Kind::BadCredentials => {
                "look which credentials are set; `aws sts get-caller-identity` tells whose they are"
            }
            S3Kind::Denied => {
                "listing takes s3:ListBucket, reading s3:GetObject, writing s3:PutObject; without s3:ListBucket, AWS says \
                 this of an object that does not exist, too"
            }
            S3Kind::NoBucket => "look at the bucket's name, and at endpoint_url or AWS_ENDPOINT_URL_S3",
            S3Kind::Archived => "restore the object first",
            S3Kind::WrongRegion => "set region, or AWS_REGION",
            S3Kind::Unavailable | S3Kind::TimedOut => "look at endpoint_url or AWS_ENDPOINT_URL_S3, and at the network",
            _ => return None,
        })
    }
}

/// The failure of one try.
#[derive(Debug, Clone)]
pub struct S3Failure {
    /// The reason.
    pub kind: S3Kind,
    /// The details as text.
    pub detail: String,
    /// Whether other credentials may help.
    pub(super) expired: bool,
    /// The bucket's region according to the store.
    pub(super) region: Option<String>,
    /// Whether the failure comes from a response of the store.
    pub(super) answered: bool,
}

impl S3Failure {
    /// A failure found here, in a response that arrived.
    #[must_use]
    pub fn new(kind: S3Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), expired: false, region: None, answered: false }
    }

    /// A response whose body broke off.
    #[must_use]
    pub fn broken(error: &(dyn Error + 'static)) -> Self {
        let kind = if said(error, "checksum") { S3Kind::Checksum } else { S3Kind::Unavailable };
        Self { answered: true, ..Self::new(kind, innermost(error)) }
    }

    fn of_answer(status: u16, code: Option<&str>, message: Option<&str>, region: Option<&str>) -> Self {
        let text = [code, message].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        let detail = if text.is_empty() { format!("status {status}") } else { format!("{status} {text}") };
        let code = code.unwrap_or_default();
        let expired = matches!(code, "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "InvalidToken");
        let kind = if expired { S3Kind::BadCredentials } else { kind_of(status, code, message.unwrap_or_default()) };
        let region = region.map(str::to_owned).or_else(|| region_in(message?)).filter(|_| kind == S3Kind::WrongRegion);
        Self { kind, detail, expired, region, answered: true }
    }
}

impl<E: ProvideErrorMetadata + Error + Send + Sync + 'static> From<SdkError<E>> for S3Failure {
    fn from(error: SdkError<E>) -> Self {
        if let Some(raw) = error.raw_response() {
            let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
            let region = raw.headers().get("x-amz-bucket-region");
            let (code, message) = (meta.and_then(|m| m.code()), meta.and_then(|m| m.message()));
            let failure = Self::of_answer(raw.status().as_u16(), code, message, region);
            // A success status with an invalid body: a proxy answered, or the response was cut short.
            return match error {
                SdkError::ResponseError(_) if raw.status().is_success() => {
                    Self { kind: S3Kind::Unavailable, detail: innermost(&error), ..failure }
                }
                _ => failure,
            };
        }
        if let Some(lacking) = shortage(&error) {
            return Self::new(S3Kind::LocalOutage, lacking);
        }
        if let Some(failure) = of_credentials(&error) {
            return failure;
        }
        let kind = match &error {
            SdkError::ConstructionFailure(_) => S3Kind::Other,
            SdkError::TimeoutError(_) => S3Kind::TimedOut,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => S3Kind::TimedOut,
            SdkError::DispatchFailure(failure) if failure.is_user() => S3Kind::Other,
            _ => S3Kind::Unavailable,
        };
        Self::new(kind, innermost(&error))
    }
}

/// The failure of the credential providers, if it was one.
fn of_credentials(error: &(dyn Error + 'static)) -> Option<S3Failure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            let detail = match credentials {
                CredentialsError::CredentialsNotLoaded(_) => String::new(),
                _ => innermost(credentials),
            };
            return Some(S3Failure::new(S3Kind::NoCredentials, detail));
        }
        let text = error.to_string();
        if text.contains("identity resolver timed out") {
            return Some(S3Failure::new(S3Kind::NoCredentials, text));
        }
        next = error.source();
    }
    None
}

fn kind_of(status: u16, code: &str, message: &str) -> S3Kind {
    match code {
        "NoSuchBucket" | "InvalidBucketName" => return S3Kind::NoBucket,
        "NoSuchKey" | "NoSuchVersion" => return S3Kind::NoKey,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSecurity"
        | "MissingSecurityHeader"
        | "NotSignedUp"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed" => {
            return S3Kind::BadCredentials;
        }
        "AuthorizationHeaderMalformed" => {
            return if region_in(message).is_some() { S3Kind::WrongRegion } else { S3Kind::BadCredentials };
        }
        "PermanentRedirect" | "IllegalLocationConstraintException" => return S3Kind::WrongRegion,
        "InvalidObjectState" => return S3Kind::Archived,
        "PreconditionFailed" => return S3Kind::Changed,
        "InvalidRange" => return S3Kind::PastEnd,
        "KeyTooLongError" | "InvalidURI" | "XMinioInvalidObjectName" | "EntityTooLarge" => return S3Kind::BadName,
        "BadDigest" | "XAmzContentSHA256Mismatch" | "InvalidDigest" | "IncompleteBody" => return S3Kind::Checksum,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "Throttling" => {
            return S3Kind::Throttled;
        }
        // A lost upload is started again by the next try.
        "RequestTimeout" | "OperationAborted" | "NoSuchUpload" | "InvalidPart" => return S3Kind::Unavailable,
        _ => {}
    }
    match status {
        301 => S3Kind::WrongRegion,
        401 => S3Kind::BadCredentials,
        403 => S3Kind::Denied,
        404 => S3Kind::NoKey,
        412 => S3Kind::Changed,
        414 => S3Kind::BadName,
        416 => S3Kind::PastEnd,
        429 => S3Kind::Throttled,
        501 => S3Kind::Other,
        300..=399 | 408 | 409 | 425 | 500.. => S3Kind::Unavailable,
        _ => S3Kind::Other,
    }
}

/// The region in "the region 'us-east-1' is wrong; expecting 'eu-west-1'".
fn region_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    Some(rest.split_once('\'')?.0.to_owned())
}

fn said(error: &(dyn Error + 'static), word: &str) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().contains(word) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The root cause of an error, which is the useful message.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_they_mean() {
        for (status, code, kind) in [
            (404, "NoSuchKey", S3Kind::NoKey),
            (404, "NoSuchBucket", S3Kind::NoBucket),
            (404, "", S3Kind::NoKey),
            (403, "AccessDenied", S3Kind::Denied),
            (403, "", S3Kind::Denied),
            (403, "InvalidAccessKeyId", S3Kind::BadCredentials),
            (403, "SignatureDoesNotMatch", S3Kind::BadCredentials),
            (400, "ExpiredToken", S3Kind::BadCredentials),
            (403, "InvalidObjectState", S3Kind::Archived),
            (412, "PreconditionFailed", S3Kind::Changed),
            (416, "InvalidRange", S3Kind::PastEnd),
            (400, "KeyTooLongError", S3Kind::BadName),
            (301, "PermanentRedirect", S3Kind::WrongRegion),
            (503, "SlowDown", S3Kind::Throttled),
            (429, "", S3Kind::Throttled),
            (500, "InternalError", S3Kind::Unavailable),
            (502, "", S3Kind::Unavailable),
            (400, "RequestTimeout", S3Kind::Unavailable),
            (400, "BadDigest", S3Kind::Checksum),
            (400, "InvalidStorageClass", S3Kind::Other),
            (501, "NotImplemented", S3Kind::Other),
        ] {
            assert_eq!(S3Failure::of_answer(status, Some(code), None, None).kind, kind, "{status} {code}");
        }
    }

    #[test]
    fn only_what_has_expired_is_fetched_again() {
        for (code, expired) in [("ExpiredToken", true), ("RequestExpired", true), ("SignatureDoesNotMatch", false)] {
            assert_eq!(S3Failure::of_answer(403, Some(code), None, None).expired, expired, "{code}");
        }
    }

    #[test]
    fn the_right_region_is_found_in_header_or_message() {
        let header = S3Failure::of_answer(301, Some("PermanentRedirect"), Some("x"), Some("eu-west-1"));
        assert_eq!(header.region.as_deref(), Some("eu-west-1"));
        let said = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'ap-south-1'";
        let message = S3Failure::of_answer(400, Some("AuthorizationHeaderMalformed"), Some(said), None);
        assert_eq!((message.kind, message.region.as_deref()), (S3Kind::WrongRegion, Some("ap-south-1")));
    }
}
