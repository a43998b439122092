// Encrypts and decrypts with AWS's Encryption SDK for JavaScript: each line of standard input is a
// job, each of standard output its answer, both JSON, with bytes in base64. In the middle of a job
// the keyring asks for a data key with a line of its own, and the next line of input answers it.
"use strict";

const readline = require("readline");
const { buildDecrypt } = require("@aws-crypto/decrypt-node");
const { buildEncrypt } = require("@aws-crypto/encrypt-node");
const {
  AlgorithmSuiteIdentifier,
  CommitmentPolicy,
  EncryptedDataKey,
  KeyringNode,
  KeyringTraceFlag,
} = require("@aws-crypto/material-management-node");

const policy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT;
const { encrypt } = buildEncrypt(policy);
const { decrypt } = buildDecrypt(policy);
const suites = {
  "0x0478": AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
  "0x0578": AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
};

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (message) => console.log(JSON.stringify(message));
const hear = async () => JSON.parse((await lines.next()).value);
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));

class Keyring extends KeyringNode {
  async _onEncrypt(material) {
    say({ make: { context: material.encryptionContext } });
    const { dataKey, recipients } = await hear();
    material.setUnencryptedDataKey(bytes(dataKey), {
      keyNamespace: recipients[0].providerId,
      keyName: recipients[0].providerInfo,
      flags: KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY,
    });
    for (const { providerId, providerInfo, sealed } of recipients) {
      const encryptedDataKey = bytes(sealed);
      material.addEncryptedDataKey(
        new EncryptedDataKey({ providerId, providerInfo, encryptedDataKey }),
        KeyringTraceFlag.WRAPPING_KEY_ENCRYPTED_DATA_KEY,
      );
    }
    return material;
  }

  async _onDecrypt(material, recipients) {
    for (const { providerId, providerInfo, encryptedDataKey } of recipients) {
      const sealed = base64(encryptedDataKey);
      say({ open: { providerId, providerInfo, sealed, context: material.encryptionContext } });
      const { dataKey } = await hear();
      if (!dataKey) continue;
      return material.setUnencryptedDataKey(bytes(dataKey), {
        keyNamespace: providerId,
        keyName: providerInfo,
        flags: KeyringTraceFlag.WRAPPING_KEY_DECRYPTED_DATA_KEY,
      });
    }
    return material;
  }
}

async function answer(job) {
  try {
    if ("message" in job) {
      const { plaintext, messageHeader } = await decrypt(new Keyring(), bytes(job.message));
      return { plaintext: base64(plaintext), context: messageHeader.encryptionContext };
    }
    const { result } = await encrypt(new Keyring(), bytes(job.plaintext), {
      suiteId: suites[job.suite],
      frameLength: job.frameLength,
      encryptionContext: job.context,
    });
    return { message: base64(result) };
  } catch (error) {
    return { refused: error.message };
  }
}

(async () => {
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    say(await answer(JSON.parse(line.value)));
  }
})();
