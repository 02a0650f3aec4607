use baton_proto::baton::{
    api::v1::Page,
    tenancy::v1::{ListAccountsRequest, ListMembersRequest, ListMembersResponse, MemberStatus},
};

use super::*;

fn page(page: i32, per_page: i32, token: &str) -> Option<Page> {
    Some(Page { page, per_page, page_token: token.to_owned() })
}

async fn list(
    context: &TestContext,
    by: &Person,
    request: ListMembersRequest,
) -> Result<Response<ListMembersResponse>, Status> {
    members(context).list_members(by.call(request.account_id.parse().unwrap(), request)).await
}

#[tokio::test]
async fn members_are_paged_by_number_and_by_token() {
    let context = test_context().await;
    let team = context.team().await;
    let all = ListMembersRequest { account_id: team.account_id.to_string(), ..Default::default() };
    let whole = list(&context, &team.user_a1, all.clone()).await.unwrap().into_inner();
    assert_eq!(whole.members.len(), 7);
    let order: Vec<_> = whole.members.iter().map(|member| member.user_id.clone().unwrap()).collect();
    let expected = [
        &team.owner,
        &team.super_manager,
        &team.manager_a,
        &team.manager_b,
        &team.user_a1,
        &team.user_a2,
        &team.user_b1,
    ];
    assert_eq!(order, expected.map(|person| person.user_id.to_string()));

    let mut by_number = Vec::new();
    for number in 1..=4 {
        let request = ListMembersRequest { page: page(number, 3, ""), ..all.clone() };
        let response = list(&context, &team.owner, request).await.unwrap().into_inner();
        let meta = response.meta.unwrap();
        assert_eq!((meta.total_count, meta.page, meta.per_page, meta.total_pages), (7, number, 3, 3));
        by_number.extend(response.members);
    }
    assert_eq!(by_number, whole.members);

    let (mut by_token, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListMembersRequest { page: page(0, 2, &token), ..all.clone() };
        let response = list(&context, &team.owner, request).await.unwrap().into_inner();
        by_token.extend(response.members);
        let meta = response.meta.unwrap();
        assert_eq!(meta.total_count, 7);
        token = meta.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(by_token, whole.members);
}

#[tokio::test]
async fn members_are_filtered_by_role_and_status() {
    let context = test_context().await;
    let team = context.team().await;
    invite(&context, &team.owner, invitation(team.account_id, "bob@example.org", Role::Manager, None)).await.unwrap();
    let remove = baton_proto::baton::tenancy::v1::RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_b1.user_id.to_string(),
        hand_over_to: None,
    };
    members(&context).remove_member(team.owner.call(team.account_id, remove)).await.unwrap();
    for (roles, statuses, expected) in [
        (vec![], vec![], 7),
        (vec![Role::Manager], vec![], 3),
        (vec![Role::Manager], vec![MemberStatus::Invited], 1),
        (vec![Role::User], vec![MemberStatus::Removed], 1),
        (vec![Role::User, Role::Owner], vec![MemberStatus::Active], 3),
        (vec![], vec![MemberStatus::Invited, MemberStatus::Active, MemberStatus::Removed], 8),
    ] {
        let request = ListMembersRequest {
            account_id: team.account_id.to_string(),
            role: roles.iter().map(|&role| role.into()).collect(),
            status: statuses.iter().map(|&status| status.into()).collect(),
            page: None,
        };
        let response = list(&context, &team.user_a1, request).await.unwrap().into_inner();
        assert_eq!(response.members.len(), expected, "{roles:?} {statuses:?}");
        assert_eq!(response.meta.unwrap().total_count, expected as i32);
        assert!(response.members.iter().all(|member| roles.is_empty() || roles.contains(&member.role())));
    }
}

#[tokio::test]
async fn invalid_tokens_and_filters_are_refused() {
    let context = test_context().await;
    let team = context.team().await;
    let all = ListMembersRequest { account_id: team.account_id.to_string(), ..Default::default() };
    let first = ListMembersRequest { page: page(0, 2, ""), ..all.clone() };
    let token = list(&context, &team.owner, first).await.unwrap().into_inner().meta.unwrap().next_page_token;
    // Forged tokens: keys that are no time, and times outside the range of Postgres.
    let digest = {
        let bytes = decode(&token);
        bytes.split("\"f\":").nth(1).unwrap().trim_end_matches('}').to_owned()
    };
    let forged = |key: &str| {
        let json = format!("{{\"k\":{key},\"i\":\"{}\",\"f\":{digest}}}", Uuid::nil());
        encode(&json)
    };
    for bad in ["x".to_owned(), forged("\"soon\""), forged("null"), forged("\"-4000000000000000000\"")] {
        let request = ListMembersRequest { page: page(0, 2, &bad), ..all.clone() };
        assert_eq!(refusal(list(&context, &team.owner, request).await), Reason::PageTokenInvalid, "{bad}");
    }
    // A key in the far future is valid and returns nothing.
    let request = ListMembersRequest { page: page(0, 2, &forged("\"8000000000000000000\"")), ..all.clone() };
    assert!(list(&context, &team.owner, request).await.unwrap().into_inner().members.is_empty());
    let other_filter = ListMembersRequest { role: vec![1], page: page(0, 2, &token), ..all.clone() };
    assert_eq!(refusal(list(&context, &team.owner, other_filter).await), Reason::PageTokenInvalid);
    for request in [
        ListMembersRequest { role: vec![9], ..all.clone() },
        ListMembersRequest { role: vec![0], ..all.clone() },
        ListMembersRequest { status: vec![0], ..all.clone() },
        ListMembersRequest { page: page(-1, 2, ""), ..all.clone() },
        ListMembersRequest { page: page(1, 101, ""), ..all.clone() },
    ] {
        assert_eq!(refusal(list(&context, &team.owner, request).await), Reason::ValidationFailed);
    }
}

#[tokio::test]
async fn accounts_are_listed_in_the_order_of_joining() {
    let context = test_context().await;
    let ada = context.person("ada").await;
    let mut expected = Vec::new();
    for number in 0..5 {
        if number == 2 {
            // Ada is a member of another user's account.
            let team = context.team().await;
            context.join(team.account_id, &ada, baton_access::Role::User, None).await;
            expected.push(team.account_id.to_string());
        } else {
            expected.push(context.account(&ada).await.to_string());
        }
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let request = ada.call_without_account(ListAccountsRequest { page: page(0, 2, &token) });
        let response = accounts(&context).list_accounts(request).await.unwrap().into_inner();
        found.extend(response.accounts.into_iter().map(|account| account.id));
        let meta = response.meta.unwrap();
        assert_eq!((meta.total_count, meta.total_pages), (5, 3));
        token = meta.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);
    let request = ada.call_without_account(ListAccountsRequest { page: page(2, 3, "") });
    let second = accounts(&context).list_accounts(request).await.unwrap().into_inner();
    assert_eq!(second.accounts.into_iter().map(|account| account.id).collect::<Vec<_>>(), expected[3..]);
}

fn decode(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap()
}

fn encode(json: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(json)
}
