// Signs events with Stripe's own library. Argument: {secret, events}. Prints {payload, header} for each event.
import Stripe from "stripe";

const { secret, events } = JSON.parse(process.argv[2]);
const stripe = new Stripe("sk_test_unused");
for (const event of events) {
  const payload = JSON.stringify(event, null, 2);
  const header = stripe.webhooks.generateTestHeaderString({ payload, secret });
  // The library accepts its own signature.
  stripe.webhooks.constructEvent(payload, header, secret);
  process.stdout.write(JSON.stringify({ payload, header }) + "\n");
}
