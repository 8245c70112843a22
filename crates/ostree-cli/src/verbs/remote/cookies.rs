//! `ostree remote add-cookie`, `delete-cookie` and `list-cookies`

use std::time::{SystemTime, UNIX_EPOCH};

use ostree::Cookie;

use crate::command::Command;
use crate::cx::Cx;
use crate::{date, fail};

/// The cookie that the words name; one without a value where `needed` are four.
fn named(cx: &Cx, needed: usize) -> anyhow::Result<(String, Cookie)> {
    let words = &cx.given.rest;
    if words.len() < needed {
        return fail("NAME, DOMAIN, PATH, COOKIE_NAME and VALUE must be specified");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let value = words.get(4).map_or("", String::as_str);
    let cookie = Cookie::new(&words[1], &words[2], &words[3], value, now)?;
    Ok((words[0].clone(), cookie))
}

pub const ADD: Command = Command::on_repo(
    "add-cookie",
    "Send a cookie with each request",
    "NAME DOMAIN PATH COOKIE_NAME VALUE",
    &[],
    |cx| {
        let (remote, cookie) = named(cx, 5)?;
        Ok(cx.repo()?.add_cookie(&remote, cookie)?)
    },
);

pub const DELETE: Command = Command::on_repo(
    "delete-cookie",
    "Send a cookie no more",
    "NAME DOMAIN PATH COOKIE_NAME",
    &[],
    |cx| {
        let (remote, cookie) = named(cx, 4)?;
        match cx.repo()?.delete_cookie(&remote, &cookie)? {
            true => Ok(()),
            false => fail("Cookie not found"),
        }
    },
);

pub const LIST: Command = Command::on_repo("list-cookies", "Show the cookies", "NAME", &[], |cx| {
    let remote = cx.word(0, "NAME must be specified")?;
    for cookie in cx.repo()?.cookies(&remote)? {
        writeln!(cx.out, "--")?;
        writeln!(cx.out, "Domain: {}", cookie.domain)?;
        writeln!(cx.out, "Path: {}", cookie.path)?;
        writeln!(cx.out, "Name: {}", cookie.name)?;
        let secure = if cookie.secure { "yes" } else { "no" };
        writeln!(cx.out, "Secure: {secure}")?;
        writeln!(cx.out, "Expires: {}", date::shown_long(cookie.expires))?;
        writeln!(cx.out, "Value: {}", cookie.value)?;
    }
    Ok(())
});
