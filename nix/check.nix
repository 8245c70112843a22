# Evaluates the module with nothing but `nix`: a small lib in place of nixpkgs', and the
# options of NixOS that the module uses. Usage:
#   nix-instantiate --eval --strict --json nix/check.nix --arg services '{ … }'
{
  services ? { },
}:

let
  inherit (builtins)
    all
    attrNames
    concatMap
    elem
    filter
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    listToAttrs
    mapAttrs
    match
    tail
    ;

  nameValuePair = name: value: { inherit name value; };

  # A type says whether a value is right, and fills in what was not given.
  plain = name: check: {
    inherit name;
    fill =
      at: value: if check value then value else throw "${at}: a value of type `${name}` is expected";
  };

  types = {
    str = plain "str" isString;
    bool = plain "bool" isBool;
    int = plain "int" isInt;
    package = plain "package" isAttrs;
    enum = values: plain "enum" (value: elem value values);
    strMatching = regex: plain "strMatching" (value: isString value && match regex value != null);
    nullOr = type: {
      name = "nullOr";
      fill = at: value: if value == null then null else type.fill at value;
    };
    listOf = type: {
      name = "listOf";
      fill = at: value: if isList value then map (type.fill at) value else throw "${at}: no list";
    };
    attrsOf = type: {
      name = "attrsOf";
      fill = at: mapAttrs (name: type.fill "${at}.${name}");
    };
    submodule = module: {
      name = "submodule";
      fill = at: value: fill at module.options value;
    };
  };

  lib = {
    inherit types nameValuePair;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = what: lib.mkOption {
      type = types.bool;
      default = false;
      description = "Whether to enable ${what}.";
    };
    mkIf = condition: content: if condition then content else { };
    mkDefault = value: value;
    literalExpression = text: text;
    filterAttrs =
      keep: set:
      listToAttrs (
        concatMap (name: if keep name set.${name} then [ (nameValuePair name set.${name}) ] else [ ]) (
          attrNames set
        )
      );
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    optional = condition: value: if condition then [ value ] else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    getExe = package: "${package.outPath}/bin/${package.meta.mainProgram}";
  };

  # What was given, with what was not as the options say; nothing that is no option.
  fill =
    at: options: given:
    let
      unknown = filter (name: !(options ? ${name})) (attrNames given);
      one =
        name: option:
        if (option._type or null) == "option" then
          let
            value = given.${name} or option.default or (throw "${at}.${name} is missing");
          in
          assert option ? description || throw "${at}.${name} has no description";
          option.type.fill "${at}.${name}" value
        else
          fill "${at}.${name}" option (given.${name} or { });
    in
    if unknown == [ ] then mapAttrs one options else throw "${at}.${head unknown} is no option";

  package = name: {
    outPath = "/nix/store/${name}";
    meta.mainProgram = name;
    type = "derivation";
  };

  pkgs = {
    coreutils = package "coreutils";
    gitMinimal = package "git";
    util-linux = package "util-linux";
    stdenv.hostPlatform.system = "x86_64-linux";
    formats.toml = _: {
      type = plain "toml" isAttrs;
      generate = name: value: { inherit name value; };
    };
  };

  backstop = {
    packages.x86_64-linux.backstop = package "backstop";
  };

  config = {
    services.backstop = fill "services.backstop" module.options.services.backstop services;
    nix = {
      package = package "nix";
      envVars = { };
    };
    programs.ssh.package = package "openssh";
    systemd.package = package "systemd";
    system.autoUpgrade.enable = false;
  };

  module = import ./module.nix backstop { inherit config lib pkgs; };

  assertions = module.config.assertions or [ ];
  broken = filter (one: !one.assertion) assertions;
in
if broken == [ ] then module.config else throw (head broken).message
