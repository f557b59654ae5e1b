use super::*;

/// An answer as a client tells of it.
fn answer(body: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!(
        "Error performing PUT https://s3.example.org/b/k?X-Amz-Signature=hush&sig=hush in 1ms - \
         Server returned non-2xx status code: 403 Forbidden: {body}"
    )
    .into()
}

fn denied(body: &str) -> Error {
    Error::PermissionDenied {
        path: "k".to_owned(),
        source: answer(body),
    }
}

fn generic(body: &str) -> Error {
    Error::Generic {
        store: "S3",
        source: answer(body),
    }
}

fn told(error: &Error) -> String {
    refused("s3://b/k", "write", error).to_string()
}

#[test]
fn nothing_secret_is_told() {
    let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>It does not match</Message>\
                <AWSAccessKeyId>AKIAHUSH</AWSAccessKeyId><StringToSign>hush</StringToSign>\
                <SignatureProvided>hush</SignatureProvided></Error>";
    for error in [denied(body), denied(""), generic(body), generic("down")] {
        let text = told(&error);
        assert!(text.starts_with("cannot write `s3://b/k`: "), "{text}");
        assert!(!text.to_lowercase().contains("hush"), "{text}");
    }
}

#[test]
fn what_people_can_mend_is_said() {
    let code = |code: &str| format!("<Error><Code>{code}</Code></Error>");
    for (error, expected) in [
        (denied(&code("AccessDenied")), "access denied"),
        (denied(&code("InvalidAccessKeyId")), "AWS_ACCESS_KEY_ID"),
        (denied(&code("ExpiredToken")), "AWS_SESSION_TOKEN"),
        (generic(&code("PermanentRedirect")), "set AWS_REGION"),
        (generic(&code("NoSuchBucket")), "there is no bucket `b`"),
        (generic(&code("SlowDown")), "finished pieces stay"),
        (generic(&code("NotImplemented")), "the store cannot do that"),
    ] {
        let text = told(&error);
        assert!(text.contains(expected), "{text}");
    }
    let azure = refused("az://b/k", "read", &denied(&code("AuthenticationFailed"))).to_string();
    assert!(azure.contains("AZURE_STORAGE_ACCOUNT_KEY"), "{azure}");
}

#[test]
fn only_a_missing_object_is_not_found() {
    let missing = |body: &str| Error::NotFound {
        path: "k".to_owned(),
        source: answer(body),
    };
    let kind = |error: &Error| refused("s3://b/k", "read", error).kind();
    assert_eq!(kind(&missing("")), io::ErrorKind::NotFound);
    let bucket = missing("<Error><Code>NoSuchBucket</Code></Error>");
    assert_eq!(kind(&bucket), io::ErrorKind::Other);
    assert!(is_passing(&generic("<Error><Code>SlowDown</Code></Error>")));
    assert!(!is_passing(&generic(
        "<Error><Code>PermanentRedirect</Code></Error>"
    )));
    assert!(!is_passing(&bucket));
}
