//! From a request to an answer.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};

use crate::body::Content;
use crate::many::{self, Many};
use crate::place::{Root, relative};
use crate::range::{Part, part};
use crate::server::Activity;

/// What never changes may be kept for a year.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Answers a request; `many` objects may be asked for at once.
pub(crate) fn answer<B>(
    root: &Arc<Root>,
    request: &Request<B>,
    many: usize,
    activity: &Activity,
) -> Response<Content> {
    activity.note();
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED, activity);
            let headers = response.headers_mut();
            headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
    };
    let uri = request.uri();
    if let ("/objects", Some(query), 2..) = (uri.path(), uri.query(), many) {
        return match many::object_names(query, many) {
            Some(names) => send_many(root, names, head, activity),
            None => status(StatusCode::BAD_REQUEST, activity),
        };
    }
    let Some(path) = relative(uri.path()) else {
        return status(StatusCode::NOT_FOUND, activity);
    };
    match root.file(&path) {
        Ok((file, is)) => {
            let mut response = send(&path, file, &is, request.headers(), head, activity);
            if many > 1 {
                let name = HeaderName::from_static(many::HEADER);
                response.headers_mut().insert(name, many.into());
            }
            response
        }
        Err(e) if is_absent(&e) => status(StatusCode::NOT_FOUND, activity),
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR, activity),
    }
}

/// Whether the path names nothing that may be seen.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let absent = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::ACCESS,
        Errno::LOOP,
        Errno::XDEV,
        Errno::NAMETOOLONG,
        Errno::NXIO,
    ];
    error.kind() == io::ErrorKind::NotFound || errno.is_some_and(|e| absent.contains(&e))
}

fn status(code: StatusCode, activity: &Activity) -> Response<Content> {
    let mut response = Response::new(Content::empty(activity.clone()));
    *response.status_mut() = code;
    response
}

/// Several objects.
fn send_many(
    root: &Arc<Root>,
    names: Vec<String>,
    head: bool,
    activity: &Activity,
) -> Response<Content> {
    let body = match head {
        true => Content::empty(activity.clone()),
        false => Content::many(Many::new(Arc::clone(root), names), activity.clone()),
    };
    Response::builder()
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_TYPE, many::TYPE)
        .body(body)
        .unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR, activity))
}

/// Changes whenever the file does.
fn tag(is: &Metadata) -> String {
    let (seconds, nanos) = (is.mtime(), is.mtime_nsec());
    format!("\"{:x}-{seconds:x}-{nanos:x}-{:x}\"", is.ino(), is.len())
}

fn send(
    path: &str,
    file: File,
    is: &Metadata,
    headers: &HeaderMap,
    head: bool,
    activity: &Activity,
) -> Response<Content> {
    let (tag, len) = (tag(is), is.len());
    let get = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let same = |tags: &str| tags == "*" || tags.split(',').any(|t| t.trim() == tag);
    let (code, part) = match (get(IF_NONE_MATCH), get(RANGE), get(IF_RANGE)) {
        (Some(tags), _, _) if same(tags) => (StatusCode::NOT_MODIFIED, Part::Of(0, 0)),
        (_, Some(range), condition) if condition.is_none_or(|c| c == tag) => {
            match part(range, len) {
                Part::Whole => (StatusCode::OK, Part::Of(0, len)),
                Part::Outside => (StatusCode::RANGE_NOT_SATISFIABLE, Part::Outside),
                found => (StatusCode::PARTIAL_CONTENT, found),
            }
        }
        _ => (StatusCode::OK, Part::Of(0, len)),
    };
    let (first, end) = match part {
        Part::Of(first, end) => (first, end),
        _ => (0, 0),
    };
    let mut builder = Response::builder()
        .status(code)
        .header(ETAG, &tag)
        .header(ACCEPT_RANGES, "bytes")
        .header(CACHE_CONTROL, caching(path))
        .header(CONTENT_TYPE, "application/octet-stream");
    match code {
        StatusCode::PARTIAL_CONTENT => {
            let range = format!("bytes {first}-{}/{len}", end - 1);
            builder = builder.header(CONTENT_RANGE, range);
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            builder = builder.header(CONTENT_RANGE, format!("bytes */{len}"));
        }
        _ => {}
    }
    if code != StatusCode::NOT_MODIFIED {
        builder = builder.header(CONTENT_LENGTH, end - first);
    }
    let body = match head || first == end {
        true => Content::empty(activity.clone()),
        false => Content::of(file, first, end, activity.clone()),
    };
    builder
        .body(body)
        .unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR, activity))
}

/// How long a file may be kept by whoever fetched it. Detached metadata lies among
/// the objects, but changes.
fn caching(path: &str) -> &'static str {
    let fixed = path.starts_with("objects/") && !path.ends_with(".commitmeta");
    if fixed { FOREVER } else { "no-cache" }
}
