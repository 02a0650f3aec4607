// The core of the task story, shared by all third-party clients that can call RPCs.
//
// `call(rpc, message, {token, account})` makes a unary call and returns its message, in camelCase with enums as
// numbers. Prints the values that the test checks.

const MANAGER = 2;
const USER = 1;

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// A unique id of the run.
const run = `${Date.now()}-${process.pid}`;

// Returns the token of the mailed link.
async function mailed(url, email, path) {
  for (let tries = 0; tries < 400; tries++) {
    const answer = await fetch(`${url}/dev/mailbox?to=${encodeURIComponent(email)}`);
    for (const { text } of (await answer.json()).messages) {
      const token = text.split(`${path}?token=`)[1]?.split(/\s/)[0];
      if (token) return token;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no mail with a link to ${path}`);
}

async function person(call, url, name) {
  const email = `${name}-${run}@example.com`;
  const password = "tidal lantern orchid 7";
  const auth = "baton.auth.v1.AuthService";
  await call(`${auth}/Register`, { email, password, firstName: name, lastName: "Tester" });
  await call(`${auth}/VerifyEmail`, { token: await mailed(url, email, "/verify-email") });
  const session = await call(`${auth}/Login`, { email, password });
  return { email, id: session.user.id, token: session.accessToken };
}

// Waits for this number of notifications of a user about a task and returns their types.
async function notifiedTypes(call, who, id, expected) {
  for (let tries = 0; tries < 400; tries++) {
    const list = await call("baton.notification.v1.NotificationService/ListNotifications", {}, who);
    const types = list.notifications.filter(({ taskId }) => taskId === id).map(({ type }) => type);
    if (types.length >= expected) return types.sort();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not enough notifications for ${who.id}`);
}

export async function story(call, url) {
  const [owner, manager, user] = [
    await person(call, url, "owner"),
    await person(call, url, "manager"),
    await person(call, url, "user"),
  ];
  const created = await call("baton.tenancy.v1.AccountService/CreateAccount", { name: "Foreign clients" }, owner);
  const account = created.account.id;
  for (const who of [owner, manager, user]) who.account = account;

  const members = "baton.tenancy.v1.MemberService";
  for (const [invited, role, managerId] of [[manager, MANAGER], [user, USER, manager.id]]) {
    const invitation = { accountId: account, email: invited.email, role };
    if (managerId) invitation.managerId = managerId;
    await call(`${members}/InviteMember`, invitation, owner);
    const token = await mailed(url, invited.email, "/accept-invitation");
    await call(`${members}/AcceptInvitation`, { token }, { token: invited.token });
  }

  const task = async (step, message, who) => {
    const answer = await call(`baton.task.v1.TaskService/${step}Task`, message, who);
    const { id, title, status, version, assignedTo } = answer.task;
    print({ step, title, status, version, assigned_to: assignedTo || null });
    return id;
  };
  const id = await task("Create", { title: "Grüße, 世界", tags: ["b", "a"] }, owner);
  await task("Assign", { id, assignedTo: manager.id }, owner);
  await task("Assign", { id, assignedTo: user.id }, manager);
  await task("Accept", { id }, user);
  await task("Start", { id }, user);
  await task("Pause", { id, reason: "Waiting for an answer" }, user);
  await task("Resume", { id }, user);
  await task("Complete", { id }, user);
  print({ people: { owner: owner.id, manager: manager.id, user: user.id } });

  for (const [name, who, expected] of [["owner", owner, 1], ["manager", manager, 3], ["user", user, 1]]) {
    print({ notified: name, types: await notifiedTypes(call, who, id, expected) });
  }

  // Each kind of refusal: state, field validation, permission, token.
  for (const [what, rpc, message, who] of [
    ["state", "baton.task.v1.TaskService/StartTask", { id }, user],
    ["field", "baton.task.v1.TaskService/CreateTask", { title: "" }, user],
    ["permission", "baton.task.v1.BoardService/GetAccountBoard", {}, user],
    ["token", "baton.auth.v1.UserService/GetMe", {}, {}],
  ]) {
    try {
      await call(rpc, message, who);
      print({ refused: what, code: 0 });
    } catch (error) {
      print({ refused: what, ...error.refusal });
    }
  }
}
