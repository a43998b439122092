// Sends requests with the Node SDK: each line of standard input is one, each of standard output its
// answer, both JSON. Arguments: the port, the secret id; the secret key is in SECRET_KEY.
"use strict";

const readline = require("readline");
const { kms } = require("tencentcloud-sdk-nodejs");

const [port, secretId] = process.argv.slice(2);

function client(settings) {
  return new kms.v20190118.Client({
    credential: {
      secretId: settings.secretId || secretId,
      secretKey: settings.secretKey || process.env.SECRET_KEY,
      token: settings.token,
    },
    region: "ap-guangzhou",
    profile: {
      signMethod: settings.signMethod || "TC3-HMAC-SHA256",
      httpProfile: { protocol: "http://", endpoint: `127.0.0.1:${port}`, reqTimeout: 30 },
    },
  });
}

async function answer(line) {
  const { action, parameters, settings } = JSON.parse(line);
  try {
    const response = await client(settings).request(action, parameters);
    if (!response.RequestId) throw new Error("no RequestId");
    return { response };
  } catch (error) {
    if (!error.code || !error.requestId) throw error;
    return { code: error.code };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(line)));
  }
})();
