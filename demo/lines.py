r"""What the eight services of the shop write on an ordinary day, one kind of line a row.

A row is `WEIGHT LEVEL text`, then optionally ` ~ key={value} key={value}` for attributes. `{name}` is drawn from `values.py`; `\n`
starts a new line of a stack trace. Rows of `REQUEST` belong to somebody's request and share its trace; rows of `BACKGROUND` do not.
"""

REQUEST = {
    "gateway": """
        60 INFO  GET {path} 200 {ms}ms ~ client={ip} http.status=200 duration_ms={ms}
        20 INFO  GET /static/{hex}.css 304 {small}ms ~ client={ip} http.status=304 duration_ms={small}
        12 INFO  POST /cart/items 201 {ms}ms ~ client={ip} http.status=201 duration_ms={ms}
        8  INFO  POST /checkout 202 {ms}ms ~ client={ip} http.status=202 duration_ms={ms}
        5  INFO  GET /search?q={word}&page={small} 200 {ms}ms ~ client={ip} http.status=200 duration_ms={ms}
        3  INFO  GET {path} 404 {small}ms ~ client={ip} http.status=404 duration_ms={small}
        1  WARN  client {ip} closed the connection before the answer was complete ~ client={ip}
        1  WARN  request body of {bytes} bytes from {ip} is over the limit, refused ~ client={ip} http.status=413
        1  WARN  rate limit reached for api key {hex}, answering 429 ~ client={ip} http.status=429
        1  DEBUG upstream catalog chosen by least connections: {host} ({small} open)
    """,
    "checkout": """
        20 INFO  Order {order} placed by customer {customer}: {small} items, total {amount} EUR ~ order={order} amount={amount}
        14 INFO  Basket {uuid} validated in {ms} ms
        12 INFO  Reserved stock for order {order} ~ order={order}
        10 INFO  Payment for order {order} confirmed ~ order={order} amount={amount}
        6  INFO  Customer {customer} applied voucher {voucher}, {pct}% off
        4  INFO  Basket {uuid} abandoned after {n} minutes without activity
        3  WARN  Price of {sku} changed while it was in basket {uuid}, showing the customer the new one
        3  WARN  Voucher {voucher} has expired, not applied to order {order} ~ order={order}
        2  WARN  Address of customer {customer} could not be verified, asking for confirmation
        2  INFO  Gift wrapping added to order {order} ~ order={order}
        1  ERROR Tax rules for country {country} are missing, order {order} held for manual review ~ order={order}
        2  DEBUG Recomputed shipping options for {city} in {ms} ms
    """,
    "payments": """
        30 INFO  op=authorize order={order} amount={amount} currency=EUR card=****{four} result=approved took_ms={ms} ~ duration_ms={ms} order={order}
        24 INFO  op=capture order={order} amount={amount} result=ok took_ms={ms} ~ duration_ms={ms} order={order}
        8  DEBUG op=sql.query name=find_payment rows=1 took_ms={small} pool_in_use={small} ~ duration_ms={small}
        4  INFO  op=refund order={order} amount={amount} reason=returned_goods result=ok ~ order={order}
        3  WARN  op=authorize order={order} result=declined code=insufficient_funds ~ order={order}
        2  WARN  op=authorize order={order} result=declined code=card_expired ~ order={order}
        2  WARN  op=fraud_check order={order} score={pct} decision=manual_review ~ order={order}
        1  WARN  op=3ds order={order} result=abandoned after_s={n} ~ order={order}
        1  ERROR op=authorize order={order} result=error acquirer=nordbank http_status=502 will_retry=true ~ order={order}
    """,
    "inventory": """
        30 INFO  reserved {small} of {sku} in warehouse {warehouse} for order {order} ~ node={node} order={order}
        20 INFO  stock level of {sku} is {n} ~ node={node}
        6  INFO  released reservation {uuid}: basket expired ~ node={node}
        4  WARN  stock of {sku} is below the reorder point ({small} left) ~ node={node}
        2  WARN  oversold {sku} by {small}, back order created ~ node={node}
        2  INFO  picked order {order} from shelf {shelf} ~ node={node} order={order}
        1  ERROR reservation {uuid} refers to unknown product {sku} ~ node={node}
    """,
    "catalog": """
        40 DEBUG {{"event":"cache.hit","key":"product:{sku}","age_s":{n}}}
        24 INFO  {{"event":"product.view","sku":"{sku}","ms":{ms},"locale":"{locale}"}} ~ duration_ms={ms}
        14 INFO  {{"event":"search","terms":"{word} {word}","hits":{n},"ms":{ms}}} ~ duration_ms={ms}
        6  DEBUG {{"event":"cache.miss","key":"product:{sku}","ms":{ms}}}
        3  INFO  {{"event":"search.empty","terms":"{word}","suggested":"{word}"}}
        2  WARN  {{"event":"image.missing","sku":"{sku}","size":"{n}x{n}"}}
        1  WARN  {{"event":"translation.missing","sku":"{sku}","locale":"{locale}","field":"description"}}
        1  ERROR {{"event":"render.failed","sku":"{sku}","error":"template variable price is undefined"}}
    """,
    "shipping": """
        16 INFO  Label {uuid} printed for order {order} with {carrier} ~ order={order}
        12 INFO  Parcel {parcel} handed over to {carrier} in {city}
        10 INFO  {carrier} reports parcel {parcel} delivered in {city}
        4  INFO  Estimated arrival of parcel {parcel} moved by {small} days
        3  WARN  {carrier} could not deliver parcel {parcel}: nobody at home, second attempt tomorrow
        2  WARN  Address label of order {order} is unreadable, parcel {parcel} sent back ~ order={order}
        1  WARN  Parcel {parcel} is damaged, claim {uuid} opened with {carrier}
        1  ERROR {carrier} refused the manifest: customs form for {country} is incomplete
    """,
    "auth": """
        30 INFO  session opened for user {user} from {ip} ~ client={ip} user={user}
        16 INFO  session closed for user {user} ~ user={user}
        12 DEBUG token {hex} refreshed for user {user}, valid {n} minutes ~ user={user}
        4  INFO  Failed password for {user} from {ip} port {port} ~ client={ip} user={user}
        3  INFO  second factor accepted for {user} ~ user={user}
        2  INFO  password of {user} changed by its owner ~ user={user}
        1  WARN  second factor rejected for {user}: code is {small} steps old ~ user={user}
        1  WARN  token signed with retired key {hex}, asking {user} to log in again ~ user={user}
        1  INFO  account {user} deleted at the owner's request ~ user={user}
    """,
    "mailer": """
        20 INFO  Queued order confirmation for {email} ~ template=order-confirmation
        16 INFO  Delivered message {uuid} to {mx} in {ms} ms ~ duration_ms={ms}
        5  INFO  Queued shipping notice for {email} ~ template=shipping-notice
        4  INFO  Queued password reset for {email} ~ template=password-reset
        2  WARN  {mx} answered 451 greylisted, trying {email} again in {n} s
        2  WARN  Message {uuid} to {email} bounced: mailbox is full
        1  WARN  {email} unsubscribed from the newsletter
        1  ERROR Message {uuid} rejected by {mx}: 550 user unknown
    """,
}

BACKGROUND = {
    "gateway": """
        10 DEBUG health check of {service} on {host}: ok in {small} ms
        4  INFO  {n} connections open, {n} requests in the last second
        2  INFO  reloaded routes: {n} paths, {small} upstreams
        1  INFO  TLS certificate of shop.example renews in {n} days
        1  WARN  TLS handshake with {ip} failed: no shared cipher ~ client={ip}
        1  WARN  blocked {ip}: {n} requests for paths that do not exist ~ client={ip}
    """,
    "checkout": """
        6  INFO  Swept {n} expired baskets in {ms} ms
        3  INFO  Exchange rates loaded: {small} currencies
        1  INFO  Feature flag one_page_checkout is on for {pct}% of customers
        1  WARN  Queue order-events is {n} messages behind
    """,
    "payments": """
        8  DEBUG op=pool.stats in_use={small} idle={small} waiting=0
        4  INFO  op=settlement batch={uuid} transactions={n} total={amount} result=ok
        2  INFO  op=reconcile day={date} matched={n} unmatched=0
        1  WARN  op=acquirer.latency acquirer=nordbank p95_ms={n} threshold_ms=400
        1  INFO  op=key.rotate kid={hex} result=ok
    """,
    "inventory": """
        6  INFO  snapshot {file} written, {bytes} bytes ~ node={node}
        4  INFO  compacted journal of {node}: {n} entries dropped ~ node={node}
        3  INFO  delivery {uuid} booked in: {n} pieces of {sku} ~ node={node}
        2  INFO  replica {node} is {small} entries behind the leader ~ node={node}
        1  INFO  stock count of warehouse {warehouse} finished, {small} differences ~ node={node}
        1  WARN  scanner {hex} in warehouse {warehouse} has not reported for {n} minutes ~ node={node}
    """,
    "catalog": """
        6  INFO  {{"event":"index.refresh","documents":{n},"ms":{ms}}}
        3  INFO  {{"event":"import.finished","supplier":"{supplier}","products":{n},"changed":{small}}}
        2  INFO  {{"event":"gc","pause_ms":{small},"heap_mb":{n}}}
        1  WARN  {{"event":"gc","pause_ms":{slow},"heap_mb":{n},"note":"long pause"}}
        1  WARN  {{"event":"import.skipped","supplier":"{supplier}","line":{n},"reason":"price is not a number"}}
        1  ERROR {{"event":"import.failed","supplier":"{supplier}","error":"file ends in the middle of line {n}"}}
    """,
    "shipping": """
        5  INFO  Polled {carrier} for {n} parcels in {ms} ms
        2  INFO  Route plan for {city} computed: {small} vans, {n} stops
        1  WARN  {carrier} has not answered for {n} s, using yesterday's tariffs
        1  INFO  Customs tariff table {date} loaded
        1  WARN  Certificate of the {carrier} interface expires in {small} days
    """,
    "auth": """
        5  DEBUG purged {n} expired sessions
        2  INFO  signing key {hex} is now active
        1  INFO  pam_unix(cron:session): session opened for user root by (uid=0)
        1  WARN  clock of {host} differs from the time server by {n} ms
        1  INFO  ldap sync finished: {n} accounts, {small} changed
    """,
    "mailer": """
        5  INFO  Worker {small} idle, queue is empty
        2  INFO  Newsletter {date} rendered for {n} readers
        1  WARN  Reputation of sending address {ip} fell to {pct}
        1  ERROR Template newsletter failed to render\\nTraceback (most recent call last):\\n  File "/app/mailer/render.py", line {n}, in render\\n    return template.render(context)\\njinja2.exceptions.UndefinedError: 'customer' is undefined
        1  INFO  DKIM key {hex} published
    """,
}
